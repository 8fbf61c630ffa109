"""What sets the pace: target, pressures against their setpoints, and whether anybody decides at all."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from panels import GREEN, ORANGE, RED, THIRD, Query, Rows, at, board, curves, number, sale

PODS = '{namespace=~"$namespace"}'
OF = '{namespace=~"$namespace", sale="$sale"}'
DECIDED = f"max(boxoffice_control_target{OF})"
SILENT = f"time() - max(boxoffice_operator_last_round_timestamp_seconds{PODS})"
MUTE = f"sum(max by (signal) (boxoffice_control_signal_stale{OF}))"
DECIDED_LAST = f"max(boxoffice_admission_target_decided{OF})"
WRITERS = f"count(boxoffice_operator_writer{PODS} > 0) or vector(0)"


def controller() -> Dashboard:
    rows: Rows = {
        "Now": [
            number("Decided", "The operator's target: how many should be inside.", Query(DECIDED, "")),
            number("In force", "The target that the pods go by.", Query(f"max(boxoffice_admission_target{OF})", "")),
            number(
                "Inside",
                "Normal: at the target, while somebody waits.",
                Query(f"max(boxoffice_admission_inside{OF})", ""),
            ),
            number(
                "Strongest pressure",
                "Measured by setpoint. Normal: about 100 % while somebody waits, when all is used that should be.",
                Query(f"max(boxoffice_control_pressure{OF} >= 0)", ""),
                "percentunit",
                steps=[at(None, GREEN), at(1.1, ORANGE), at(1.5, RED)],
            ),
            number(
                "Signals without a number",
                "Normal: 0. While there are some, the target does not rise.",
                Query(MUTE, ""),
                steps=[at(None, GREEN), at(1, RED)],
            ),
            number(
                "Falls to the fallback",
                "1: nothing is known of the load, and the target falls. Normal: 0.",
                Query(f"max(boxoffice_control_blind{OF})", ""),
                steps=[at(None, GREEN), at(1, RED)],
            ),
            number(
                "Last look at all sales",
                "Seconds ago. Normal: under 12, for it looks every ten seconds.",
                Query(SILENT, ""),
                "s",
                steps=[at(None, GREEN), at(30, RED)],
            ),
            number(
                "Operators whose turn it is",
                "Normal: 1. 0: nobody decides.",
                Query(WRITERS, ""),
                steps=[at(None, RED), at(1, GREEN)],
            ),
        ],
        "The pace": [
            curves(
                "Target",
                "What was decided, what the pods go by, and who is inside. Normal: all three on each other while "
                "somebody waits. Decided above in force: nobody renews the target, and it fades.",
                Query(DECIDED, "decided now"),
                Query(DECIDED_LAST, "decided, as the pods know it"),
                Query(f"max(boxoffice_admission_target{OF})", "in force"),
                Query(f"max(boxoffice_admission_inside{OF})", "inside"),
                runbook="BoxofficePaceDecaying",
            ),
            curves(
                "Pressures against their setpoints",
                "100 % is the setpoint. Normal: the strongest is there while somebody waits. A gap: no number.",
                Query(f"max by (signal) (boxoffice_control_pressure{OF} >= 0)", "{{signal}}"),
                unit="percentunit",
                steps=[at(1, RED)],
                runbook="BoxofficeSignalsStale",
            ),
            curves(
                "Pace",
                "Numbers called in a minute. Normal: it follows the target and how long buyers stay.",
                Query(f"max(boxoffice_admission_calls_per_minute{OF})", "called"),
            ),
            curves(
                "Decisions",
                "How often the target moved in the last minute. Normal: up to six times, for one is taken every ten "
                "seconds, and not at all at a steady pace.",
                Query(f"max(changes(boxoffice_control_target{OF}[1m]))", "moves"),
            ),
        ],
        "The operator": [
            curves(
                "Last look at all sales",
                "Seconds ago. Normal: a saw of ten seconds. Without an operator the pods keep the target and let it "
                "fade to `fallbackActive`.",
                Query(SILENT, "seconds ago"),
                unit="s",
                width=THIRD,
                steps=[at(30, RED)],
                runbook="BoxofficeOperatorSilent",
            ),
            curves(
                "Time of a look",
                "Mean, in seconds. Normal: under 2; it is given up after 25.",
                Query(
                    f"sum(rate(boxoffice_operator_round_seconds_sum{PODS}[$__rate_interval]))"
                    f" / (sum(rate(boxoffice_operator_round_seconds_count{PODS}[$__rate_interval])) > 0)",
                    "a look",
                ),
                unit="s",
                width=THIRD,
                steps=[at(10, ORANGE), at(25, RED)],
            ),
            curves(
                "Faults",
                "In a minute, by what is tried again. Normal: 0.",
                Query(
                    f"60 * sum by (what) (rate(boxoffice_operator_faults_total{PODS}[$__rate_interval]))"
                    ' or label_replace(vector(0), "what", "none", "", "")',
                    "{{what}}",
                ),
                width=THIRD,
                steps=[at(1, ORANGE)],
            ),
            curves(
                "Operators whose turn it is",
                "Normal: 1. 0: nobody decides; 2 for longer than a moment cannot be: the store refuses the older one.",
                Query(WRITERS, "operators"),
                width=THIRD,
                steps=[at(2, RED)],
            ),
            curves(
                "Sales and status writes",
                "Sales looked after, and writes of their status in a minute. Normal: six a sale at most.",
                Query(f"max(boxoffice_operator_sales{PODS})", "sales"),
                Query(f"60 * sum(rate(boxoffice_operator_status_writes_total{PODS}[$__rate_interval]))", "writes"),
                width=THIRD,
            ),
            curves(
                "Limited by",
                "What kept the pace from being higher. Normal: `Filling` at first, then a signal while somebody waits, "
                "`Demand` when nobody does.",
                Query(f"max by (limit) (boxoffice_operator_limited_by{OF})", "{{limit}}"),
                width=THIRD,
            ),
            curves(
                "Signals without a number",
                "Each that does not count now. Normal: none.",
                Query(f"max by (signal) (boxoffice_control_signal_stale{OF})", "{{signal}}"),
                width=THIRD,
                runbook="BoxofficeSignalsStale",
            ),
        ],
    }
    says = "How the pace is set: target, pressures, decisions, and the operator itself."
    return board("boxoffice-controller", "Boxoffice / Controller", says, rows, sale())
