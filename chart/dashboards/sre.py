"""For who is on call: the crowd and the database under it, RED of every step, USE of what has limits."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from panels import ORANGE, RED, THIRD, Query, Rows, at, board, curves, instance

OF = 'namespace=~"$namespace"'
PROCESS = f'{OF}, instance=~"$instance"'
CPU = (
    'sum(rate(namedprocess_namegroup_cpu_seconds_total{groupname="mysqld"}[$__rate_interval]))'
    ' or sum(rate(container_cpu_usage_seconds_total{container=~"mysql|mariadb"}[$__rate_interval]))'
)
"""By process-exporter, which the chart's `dev` has, or by the kubelets."""
WAITING = f"sum(max by (namespace, sale) (boxoffice_line_waiting{{{OF}}}))"
INSIDE = f"sum(max by (namespace, sale) (boxoffice_admission_inside{{{OF}}}))"


def sre() -> Dashboard:
    rows: Rows = {
        "The crowd, and the database under it": [
            curves(
                "Line",
                "Who waits, all sales together. Normal: it spikes as it likes, for waiting costs the database nothing.",
                Query(WAITING, "waiting"),
                width=THIRD,
            ),
            curves(
                "Inside",
                "Who is inside, all sales together. Normal: flat under the spike of the line.",
                Query(INSIDE, "inside"),
                width=THIRD,
            ),
            curves(
                "CPU of the database",
                "In cores. Normal: flat under the spike of the line, at the setpoint of the sale's signal or below.",
                Query(CPU, "cores"),
                width=THIRD,
            ),
        ],
        "Requests (RED)": [
            curves(
                "Requests by step",
                "Answered in a second. Normal: whereabouts (polls) follow the line, holds and orders the pace.",
                Query(f"sum by (step) (rate(boxoffice_requests_total{{{OF}}}[$__rate_interval]))", "{{step}}"),
                unit="reqps",
                width=THIRD,
            ),
            curves(
                "Errors by step",
                "Share of 5xx. Normal: 0. Refusals (4xx: a seat that is taken, a claim too late) are no errors.",
                Query(
                    f'sum by (step) (rate(boxoffice_requests_total{{{OF}, outcome="5xx"}}[$__rate_interval]))'
                    f" / (sum by (step) (rate(boxoffice_requests_total{{{OF}}}[$__rate_interval])) > 0)",
                    "{{step}}",
                ),
                unit="percentunit",
                width=THIRD,
                steps=[at(0.001, ORANGE), at(0.01, RED)],
                runbook="BoxofficeWhereaboutsBurn",
            ),
            curves(
                "Refusals by step",
                "Requests in a second that were answered 4xx. Normal: holds of seats that somebody was quicker for, "
                "most of them at the opening.",
                Query(
                    f'sum by (step) (rate(boxoffice_requests_total{{{OF}, outcome="4xx"}}[$__rate_interval]))',
                    "{{step}}",
                ),
                unit="reqps",
                width=THIRD,
            ),
            *(
                curves(
                    f"Time of {step}s",
                    f"Seconds from the request to the answer, without refusals. Normal: p99 under {most} s.",
                    *(Query(_quantile(share, step), f"p{share * 100:g}") for share in (0.5, 0.9, 0.99)),
                    unit="s",
                    width=THIRD,
                    steps=[at(most, RED)],
                    runbook=f"Boxoffice{step.capitalize()}Burn",
                )
                for step, most in (("hold", 0.15), ("order", 0.3))
            ),
            curves(
                "Slow polls",
                "Polls in a second that took over 100 ms. Normal: under one in a thousand.",
                Query(f"sum(rate(boxoffice_requests_slow_total{{{OF}}}[$__rate_interval]))", "whereabouts"),
                unit="reqps",
                width=THIRD,
                runbook="BoxofficeWhereaboutsBurn",
            ),
        ],
        "What has limits (USE)": [
            curves(
                "Event loop, late by",
                "p99 of how late a process comes to what is due. Normal: under 50 ms. More: it has too much to do, or "
                "too little CPU; one more pod helps at once.",
                Query(_late("event_loop_lag", 0.99, "job, instance"), LEGEND),
                unit="s",
                width=THIRD,
                steps=[at(0.1, ORANGE), at(0.5, RED)],
            ),
            curves(
                "Time of a call of Redis",
                "Seconds, as our processes see it. Normal: p99 under 25 ms.",
                *(Query(_late("redis_call", share), f"p{share * 100:g}") for share in (0.5, 0.99)),
                unit="s",
                width=THIRD,
                steps=[at(0.1, ORANGE), at(1, RED)],
            ),
            curves(
                "Faults of Redis, log and ledger",
                "In a second, by what came of a call. Normal: 0; `busy` are transactions that met, and are repeated.",
                Query(
                    f"sum by (error) (rate(boxoffice_redis_errors_total{{{OF}}}[$__rate_interval]))", "redis {{error}}"
                ),
                Query(f"sum(rate(boxoffice_log_publish_failures_total{{{OF}}}[$__rate_interval]))", "log"),
                Query(
                    f"sum by (error) (rate(boxoffice_ledger_errors_total{{{OF}}}[$__rate_interval]))",
                    "ledger {{error}}",
                ),
                unit="ops",
                width=THIRD,
                steps=[at(1, ORANGE)],
            ),
            curves(
                "Until the log has a record",
                "Seconds. Normal: p99 under 100 ms; buyers wait for it when they pay.",
                *(Query(_late("log_publish", share), f"p{share * 100:g}") for share in (0.5, 0.99)),
                unit="s",
                width=THIRD,
                steps=[at(0.1, ORANGE), at(1, RED)],
                runbook="BoxofficeOrderBurn",
            ),
            curves(
                "Time of a transaction on the ledger",
                "p99 in seconds, waiting for a connection included. Normal: under 0.5.",
                Query(_late("ledger_transaction", 0.99, "kind"), "{{kind}}"),
                unit="s",
                width=THIRD,
                steps=[at(0.5, ORANGE), at(5, RED)],
            ),
            curves(
                "Connections refused",
                "In a second, by pods that have as many as they may. Normal: 0.",
                Query(
                    f"sum by (job, instance) (rate(boxoffice_connections_refused_total{{{OF}}}[$__rate_interval]))",
                    LEGEND,
                ),
                unit="cps",
                width=THIRD,
                steps=[at(1, RED)],
            ),
            curves(
                "Connections to the ledger",
                "In use, of those that a process may have. Normal: under 80 % but for moments.",
                Query(f"boxoffice_ledger_pool_in_use{{{OF}}} / boxoffice_ledger_pool_size{{{OF}}}", LEGEND),
                unit="percentunit",
                width=THIRD,
                steps=[at(0.8, ORANGE), at(1, RED)],
            ),
            curves(
                "CPU of our processes",
                "In cores. A process uses one at most. Normal: under 0.7; settlement may be busy while it catches up.",
                Query(f"rate(process_cpu_seconds_total{{{PROCESS}}}[$__rate_interval])", LEGEND),
                width=THIRD,
                steps=[at(0.7, ORANGE), at(0.95, RED)],
            ),
            curves(
                "Memory of our processes",
                "Resident. Normal: under 200 MB and flat; an audit of a large sale takes more for its time.",
                Query(f"process_resident_memory_bytes{{{PROCESS}}}", LEGEND),
                unit="bytes",
                width=THIRD,
            ),
            curves(
                "Age of what pods know",
                "Seconds since Redis told a pod how its sales stand. Normal: under half a second.",
                Query(f"boxoffice_snapshot_age_seconds{{{OF}}}", LEGEND),
                unit="s",
                width=THIRD,
                steps=[at(5, ORANGE), at(30, RED)],
            ),
            curves(
                "Engines that may forget",
                "Servers or topics that may lose what was accepted. Normal: 0. `boxoffice preflight` says what to set.",
                Query(
                    f"sum by (engine, check) (max by (namespace, engine, check) (boxoffice_engine_unsafe{{{OF}}}))",
                    "{{engine}} {{check}}",
                ),
                width=THIRD,
                steps=[at(1, RED)],
                runbook="BoxofficeEngineUnsafe",
            ),
        ],
    }
    says = "Requests, their errors and times, and what can run short, with the crowd above the database."
    return board("boxoffice-sre", "Boxoffice / SRE", says, rows, instance())


LEGEND = "{{job}} {{instance}}"


def _late(what: str, share: float, by: str = "") -> str:
    """A quantile of a time, of all together or of each."""
    buckets = f"rate(boxoffice_{what}_seconds_bucket{{{OF}}}[$__rate_interval])"
    return f"histogram_quantile({share}, sum by ({', '.join(filter(None, ('le', by)))}) ({buckets}))"


def _quantile(share: float, step: str) -> str:
    buckets = f'rate(boxoffice_request_seconds_bucket{{{OF}, step="{step}"}}[$__rate_interval])'
    return f"histogram_quantile({share}, sum by (le) ({buckets}))"
