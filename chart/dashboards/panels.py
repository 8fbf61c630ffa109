"""What our dashboards are made of: panels that say what is normal, and the frame around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.models import common as kinds, dashboard as models

GREEN, ORANGE, RED = "green", "orange", "red"
WHOLE, HALF, THIRD, QUARTER = 24, 12, 8, 6
TAG = "boxoffice"
RUNBOOKS = "docs/runbooks"
"""As in rules.py: the chart puts its value in its place."""
SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")

Panel = timeseries.Panel | stat.Panel


@dataclass(frozen=True, slots=True)
class Query:
    expr: str
    legend: str


def number(
    title: str, says: str, query: Query, unit: str = "short", *, width: int = 3, steps: Sequence[models.Threshold] = ()
) -> stat.Panel:
    """One number, as of now."""
    target = prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id("A").instant()
    panel = stat.Panel().title(title).description(says).unit(unit).span(width).height(4).with_target(target)
    panel = panel.datasource(SOURCE).no_value("-").thresholds(_thresholds(steps or [at(None, GREEN)]))
    panel = panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    return panel.graph_mode(kinds.BigValueGraphMode.NONE).color_mode(kinds.BigValueColorMode.VALUE)


def word(title: str, says: str, query: Query, *, width: int = 3) -> stat.Panel:
    """The name of what there is, in place of its number."""
    return number(title, says, query, width=width).text_mode(kinds.BigValueTextMode.NAME)


def curves(
    title: str,
    says: str,
    *queries: Query,
    unit: str = "short",
    width: int = HALF,
    steps: Sequence[models.Threshold] = (),
    stacked: bool = False,
    runbook: str = "",
) -> timeseries.Panel:
    """`steps` are drawn as lines across it; `runbook` is where to go on when it is not as the description says."""
    panel = timeseries.Panel().title(title).description(says).unit(unit).span(width).height(8).datasource(SOURCE)
    for i, query in enumerate(queries):
        target = prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(chr(ord("A") + i)).range()
        panel = panel.with_target(target)
    panel = panel.min(0).line_width(1).fill_opacity(60 if stacked else 8).show_points(kinds.VisibilityMode.NEVER)
    panel = panel.tooltip(common.VizTooltipOptions().mode(kinds.TooltipDisplayMode.MULTI)).legend(_legend())
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(kinds.StackingMode.NORMAL))
    if steps:
        style = common.GraphThresholdsStyleConfig().mode(kinds.GraphThresholdsStyleMode.DASHED)
        panel = panel.thresholds(_thresholds([at(None, GREEN), *steps])).thresholds_style(style)
    if runbook:
        link = dashboard.DashboardLink(f"Runbook: {runbook}").type(models.DashboardLinkType.LINK).target_blank(True)
        panel = panel.links([link.url(f"{RUNBOOKS}/{runbook}.md")])
    return panel


def at(value: float | None, color: str) -> models.Threshold:
    """From here it has this colour; None is the colour below all others."""
    return models.Threshold(value=value, color=color)


def _thresholds(steps: Sequence[models.Threshold]) -> dashboard.ThresholdsConfig:
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps([*steps])


def _legend() -> common.VizLegendOptions:
    legend = common.VizLegendOptions().display_mode(kinds.LegendDisplayMode.LIST)
    return legend.placement(kinds.LegendPlacement.BOTTOM).show_legend(True).calcs(["lastNotNull", "max"])


Rows = Mapping[str, Sequence[Panel]]


def board(uid: str, title: str, says: str, rows: Rows, *variables: dashboard.QueryVariable) -> models.Dashboard:
    """Panels get their ids in order, so that a link to one goes on leading there."""
    made = dashboard.Dashboard(title).uid(uid).description(says).tags([TAG]).readonly()
    made = made.timezone("browser").time("now-1h", "now").refresh("10s").tooltip(models.DashboardCursorSync.CROSSHAIR)
    made = made.link(_others()).link(_runbooks())
    for variable in (_datasource(), namespace(), *variables):
        made = made.with_variable(variable)
    panels = 0
    for name, members in rows.items():
        panels += 1
        made = made.with_row(dashboard.Row(name).id(panels))
        for panel in members:
            panels += 1
            made = made.with_panel(panel.id(panels))
    return made.build()


def _others() -> dashboard.DashboardLink:
    link = dashboard.DashboardLink("Boxoffice").type(models.DashboardLinkType.DASHBOARDS).tags([TAG])
    return link.include_vars(True).keep_time(True)


def _runbooks() -> dashboard.DashboardLink:
    return dashboard.DashboardLink("Runbooks").type(models.DashboardLinkType.LINK).url(RUNBOOKS).target_blank(True)


def _datasource() -> dashboard.DatasourceVariable:
    return dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus")


def namespace() -> dashboard.QueryVariable:
    """`.*` also finds what has no such label, where Prometheus runs outside of Kubernetes."""
    everything = models.VariableOption(selected=True, text="All", value="$__all")
    found = chosen("namespace", "Namespace", "boxoffice_seats_total", "namespace")
    return found.include_all(True).all_value(".*").multi(True).current(everything)


def sale() -> dashboard.QueryVariable:
    return chosen("sale", "Sale", 'boxoffice_seats_total{namespace=~"$namespace"}', "sale")


def instance() -> dashboard.QueryVariable:
    """Every process of ours, so that what all programs have (CPU, memory) is asked for these alone."""
    names = "boxoffice_requests_total|boxoffice_ledger_pool_size|boxoffice_operator_writer"
    found = chosen("instance", "Instance", f'{{__name__=~"{names}", namespace=~"$namespace"}}', "instance")
    return found.include_all(True).multi(True).current(models.VariableOption(True, "All", "$__all"))


def chosen(name: str, label: str, series: str, of: str) -> dashboard.QueryVariable:
    """The values of a label, looked for again when the time range is another: sales that are over are found as well."""
    found = dashboard.QueryVariable(name).label(label).datasource(SOURCE).query(f"label_values({series}, {of})")
    found = found.refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
    return found.sort(models.VariableSort.ALPHABETICAL_ASC)
