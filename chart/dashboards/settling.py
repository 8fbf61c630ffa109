"""From an accepted order to its ticket: how far settlement is behind, what it writes, and what the audit finds."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from panels import GREEN, ORANGE, RED, THIRD, Query, Rows, at, board, curves, number

OF = '{namespace=~"$namespace"}'
LAG = f"sum(boxoffice_settle_lag{OF})"
SETTLED = f"sum(rate(boxoffice_settle_orders_total{OF}[$__rate_interval])) or vector(0)"
BUSY = f"sum by (partition) (rate(boxoffice_settle_busy_seconds_total{OF}[$__rate_interval]))"
LETTERS = f"sum(max by (namespace) (boxoffice_dead_letters_open{OF}))"
INTENTS = f"sum(max by (namespace, sale) (boxoffice_intents_unpublished{OF}))"
OLDEST = f"max(boxoffice_settle_oldest_unsettled_seconds{OF})"
AUDITED = f"time() - min(max by (namespace, sale) (boxoffice_audit_last_success_timestamp_seconds{OF}))"
DIFFERENCES = f"sum(boxoffice_audit_differences{OF})"


def settling() -> Dashboard:
    rows: Rows = {
        "Now": [
            number("Behind", "Records of the log not yet settled. Normal: some hundreds, and falling.", Query(LAG, "")),
            number(
                "Oldest in hand",
                "Seconds since the log took it. Normal: under 10.",
                Query(OLDEST, ""),
                "s",
                steps=[at(None, GREEN), at(10, ORANGE), at(60, RED)],
            ),
            number(
                "Not in the log yet",
                "Orders recorded in Redis that the log does not have. Normal: 0 but for moments.",
                Query(INTENTS, ""),
            ),
            number("Settled", "Orders in a second.", Query(SETTLED, ""), "ops"),
            number(
                "Busy",
                "1: every partition has a full batch in hand, or one that a fault holds up. Normal: under 0.85.",
                Query(f"clamp_max(avg({BUSY}), 1)", ""),
                "percentunit",
                steps=[at(None, GREEN), at(0.85, ORANGE), at(1, RED)],
            ),
            number(
                "Dead letters",
                "Records that cannot be an order and wait for a person. Normal: 0. The admin page shows them.",
                Query(LETTERS, ""),
                steps=[at(None, GREEN), at(1, RED)],
            ),
            number(
                "Audit differences",
                "Found by the last audit, all sales. Normal: 0, always. `boxoffice audit SALE` names each.",
                Query(DIFFERENCES, ""),
                steps=[at(None, GREEN), at(1, RED)],
            ),
            number(
                "Oldest audit",
                "Seconds ago, of the sale that was not audited for longest. Normal: under 120. What it found may have "
                "changed since then.",
                Query(AUDITED, ""),
                "s",
                steps=[at(None, GREEN), at(300, ORANGE)],
            ),
        ],
        "The work": [
            curves(
                "Behind, by partition",
                "Records of the log not yet settled. Normal: a saw near 0, the same in all. One partition that grows "
                "alone: it pauses on a fault.",
                Query(f"sum by (partition) (boxoffice_settle_lag{OF})", "{{partition}}"),
                width=THIRD,
                stacked=True,
                runbook="BoxofficeSettlementStalled",
            ),
            curves(
                "Settled, by outcome",
                "Orders in a second. Normal: nearly all paid; declined ones are the gateway's answer.",
                Query(
                    f"sum by (outcome) (rate(boxoffice_settle_orders_total{OF}[$__rate_interval]))",
                    "{{outcome}}",
                ),
                unit="ops",
                width=THIRD,
                stacked=True,
                runbook="BoxofficeBusinessFailing",
            ),
            curves(
                "From accepted to settled",
                "Seconds. Normal: p99 under 10, which is promised.",
                *(Query(_quantile("settle", share), f"p{share * 100:g}") for share in (0.5, 0.9, 0.99)),
                unit="s",
                width=THIRD,
                steps=[at(10, RED)],
                runbook="BoxofficeSettleBurn",
            ),
            curves(
                "Busy, by partition",
                "How full the batches are, of the time. Normal: under 0.85.",
                Query(BUSY, "{{partition}}"),
                unit="percentunit",
                width=THIRD,
                steps=[at(0.85, ORANGE)],
            ),
            curves(
                "Time of a batch",
                "Seconds from fetched to told: charged, written, Redis told. Normal: p99 under 1 s.",
                *(Query(_quantile("settle_batch", share), f"p{share * 100:g}") for share in (0.5, 0.99)),
                unit="s",
                width=THIRD,
                steps=[at(1, ORANGE), at(5, RED)],
            ),
            curves(
                "Orders in a batch",
                "Mean. Normal: as many as came meanwhile, from 1 at a slow sale to `settle.batch` when it catches up.",
                Query(
                    f"sum(rate(boxoffice_settle_orders_total{OF}[$__rate_interval]))"
                    f" / (sum(rate(boxoffice_settle_batch_seconds_count{OF}[$__rate_interval])) > 0)",
                    "orders",
                ),
                width=THIRD,
            ),
        ],
        "What goes wrong": [
            curves(
                "Pauses",
                "Of partitions, in a minute, by what was out of order. Normal: 0. A partition repeats its batch until "
                "that succeeds; nothing is lost.",
                Query(
                    f"60 * sum by (fault) (rate(boxoffice_settle_faults_total{OF}[$__rate_interval]))"
                    ' or label_replace(vector(0), "fault", "none", "", "")',
                    "{{fault}}",
                ),
                width=THIRD,
                steps=[at(1, ORANGE)],
            ),
            curves(
                "Dead letters",
                "Records that cannot be an order: those that wait for a person, and new ones in a minute. Normal: 0.",
                Query(LETTERS, "open"),
                Query(f"60 * sum(rate(boxoffice_settle_dead_letters_total{OF}[$__rate_interval]))", "new"),
                width=THIRD,
                steps=[at(1, RED)],
                runbook="BoxofficeDeadLetters",
            ),
            curves(
                "Audit differences",
                "By kind, found by the last audit of each sale. Normal: 0, always.",
                Query(f"sum by (kind) (boxoffice_audit_differences{OF})", "{{kind}}"),
                width=THIRD,
                steps=[at(1, RED)],
                runbook="BoxofficeOrderLost",
            ),
            curves(
                "Not in the log yet",
                "Orders recorded in Redis that the log does not have, and seconds since the oldest. Normal: 0 but for "
                "moments; they are published when the log takes them.",
                Query(INTENTS, "orders"),
                Query(f"max(boxoffice_intents_oldest_seconds{OF})", "seconds"),
                width=THIRD,
                steps=[at(30, RED)],
                runbook="BoxofficeIntentsUnpublished",
            ),
            curves(
                "Audits skipped",
                "In a minute, because a witness was out of reach. Normal: 0.",
                Query(f"60 * sum(rate(boxoffice_audit_failures_total{OF}[$__rate_interval]))", "audits"),
                width=THIRD,
                runbook="BoxofficeAuditSilent",
            ),
            curves(
                "Rebalances",
                "Times in a minute that a consumer was given partitions. Normal: once a process at a rollout.",
                Query(f"60 * sum(rate(boxoffice_log_rebalances_total{OF}[$__rate_interval]))", "rebalances"),
                width=THIRD,
            ),
        ],
    }
    says = "How settlement keeps up, and whether everything adds up."
    return board("boxoffice-settlement", "Boxoffice / Settlement", says, rows)


def _quantile(what: str, share: float) -> str:
    buckets = f"rate(boxoffice_{what}_seconds_bucket{OF}[$__rate_interval])"
    return f"histogram_quantile({share}, sum by (le) ({buckets}))"
