"""Rules and dashboard name metrics that exist, with their labels; every metric and every outcome field is shown."""

import json
import re
import shutil
import subprocess

import pytest
import yaml
from msgspec import structs

from app.core.outcome import Outcome
from app.telemetry.families import FAMILIES
from app.telemetry.labels import ERROR_CODES
from tests.deploy.composed import DEPLOY
from tests.deploy.dashboard import LOGGED, PATH, written

RULES = DEPLOY / "prometheus/rules.yml"
GROUPS = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
RECORDED = {rule["record"] for group in GROUPS for rule in group["rules"] if "record" in rule}
PANELS = [panel for panel in json.loads(PATH.read_text("utf-8"))["panels"] if panel["type"] == "timeseries"]
IN_RULES = {rule.get("alert") or rule["record"]: rule["expr"] for group in GROUPS for rule in group["rules"]}
ON_PANELS = {f"{panel['title']} {target['refId']}": target["expr"] for panel in PANELS for target in panel["targets"]}
EXPRESSIONS = IN_RULES | ON_PANELS
# What Prometheus itself puts on every series.
EVERYWHERE = {"job", "instance"}
METRIC = re.compile(r"\b((?:flarelay|process)_\w+)(?:\{([^}]*)\})?")
each_expression = pytest.mark.parametrize("name", EXPRESSIONS)


def family_of(name):
    """The metric that a series belongs to: a histogram has three kinds of them."""
    for suffix in ("_bucket", "_sum", "_count"):
        base = name.removesuffix(suffix)
        if base != name and base in FAMILIES and FAMILIES[base].kind == "histogram":
            return FAMILIES[base]
    return FAMILIES.get(name)


def labels_of(name):
    family = family_of(name)
    return {*family.labels, *EVERYWHERE, *(["le"] if family.kind == "histogram" else [])}


@each_expression
def test_every_metric_and_label_exists(name):
    expression = EXPRESSIONS[name]
    found = METRIC.findall(expression)
    recorded = set(re.findall(r"\bflarelay:\w+:\w+", expression))
    assert recorded <= RECORDED
    assert found or recorded or expression.startswith("up{")
    labels = set()
    for metric, matchers in found:
        family = family_of(metric)
        assert family, f"{metric} is not counted"
        assert metric == family.name or metric != family.name + "_total"
        if family.kind == "histogram":
            assert metric != family.name, f"{metric} is a histogram: its series end in _bucket, _sum or _count"
        labels |= labels_of(metric)
        for label, value in re.findall(r'(\w+)=~?"([^"]*)"', matchers):
            assert label in labels_of(metric), f"{metric} has no label {label}"
            if label == "code" and metric == "flarelay_errors_total":
                assert value in ERROR_CODES
    for group in re.findall(r"\bby \(([^)]*)\)", expression):
        assert {label.strip() for label in group.split(",")} <= labels or recorded


@each_expression
def test_counters_are_rated_and_gauges_are_not(name):
    for metric, _ in METRIC.findall(EXPRESSIONS[name]):
        kind = family_of(metric).kind
        rated = re.search(rf"\b(rate|increase)\({metric}\b", EXPRESSIONS[name])
        assert bool(rated) == (kind != "gauge"), metric


@pytest.mark.parametrize("metric", FAMILIES)
def test_every_metric_is_on_a_panel(metric):
    shown = {family_of(name).name for expression in ON_PANELS.values() for name, _ in METRIC.findall(expression)}
    assert metric in shown


def test_every_outcome_field_has_one_panel():
    shown = [name for panel in PANELS for name in re.findall(r"Outcome field `(\w+)`", panel["description"])]
    assert len(shown) == len(set(shown))
    fields = {field.name for field in structs.fields(Outcome)}
    assert set(shown) | set(LOGGED) == fields
    assert not set(shown) & set(LOGGED)


def test_panels_do_not_cover_each_other():
    places = set()
    for panel in json.loads(PATH.read_text("utf-8"))["panels"]:
        at = panel["gridPos"]
        squares = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not squares & places
        assert at["x"] + at["w"] <= 24
        places |= squares
    assert len({panel["title"] for panel in PANELS}) == len(PANELS)


def test_the_dashboard_is_current():
    assert PATH.read_text("utf-8") == written(), "run: python -m tests.deploy.dashboard"


def test_alerts_say_what_to_do():
    alerts = [rule for group in GROUPS for rule in group["rules"] if "alert" in rule]
    assert len(alerts) > 8
    titles = {panel["title"] for panel in PANELS}
    for alert in alerts:
        assert alert["labels"]["severity"] in {"critical", "warning"}
        assert set(alert["annotations"]) == {"summary", "description"}
        for panel in re.findall(
            r"(?<= )'(.+?)'(?=[ .,]|$)", alert["annotations"]["description"].replace("' and '", "', '")
        ):
            assert panel in titles, panel


def test_promtool_takes_every_expression(tmp_path):
    if (promtool := shutil.which("promtool")) is None:
        pytest.skip("promtool is not installed")
    panels = [
        {"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "5m")}
        for number, expression in enumerate(ON_PANELS.values())
    ]
    (tmp_path / "panels.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": panels}]}), "utf-8")
    for words in (
        ["check", "config", "--syntax-only", "prometheus.yml"],
        ["check", "rules", "rules.yml"],
        ["test", "rules", "rules.test.yml"],
        ["check", "rules", str(tmp_path / "panels.yml")],
    ):
        done = subprocess.run(
            [promtool, *words], cwd=RULES.parent, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stdout + done.stderr
