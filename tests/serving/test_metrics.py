"""The metrics in the text form of Prometheus, read line by line."""

import re

from recoseg.serving.metrics import Metrics

SAMPLE = re.compile(r'([a-z_]+)((?:\{(?:[a-z]+="[^"\\\n]*",?)+\})?) (-?[0-9.e+]+|\+Inf)')


def samples(text):
    """The value of each sample by its name and labels; the type of each metric by its name."""
    values, types = {}, {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            assert name not in types
            types[name] = kind
        elif not line.startswith("# HELP "):
            name, labels, value = SAMPLE.fullmatch(line).groups()
            assert (name, labels) not in values
            base = re.sub("_(bucket|sum|count)$", "", name)
            assert name in types or types[base] == "histogram"
            values[name, labels] = float(value)
    return values, types


def test_requests_and_their_seconds():
    metrics = Metrics()
    seconds = [0.003, 0.02, 0.3, 70]
    for one in seconds:
        metrics.request("POST", "/segment", 200, one)
    metrics.request("GET", "/health", 404, 0.5)
    metrics.batch(3)
    metrics.batch(1)
    metrics.watch("recoseg_photos_waiting", "Photos that wait.", lambda: 7)
    values, types = samples(metrics.text())
    assert values["recoseg_requests_total", '{method="POST",route="/segment",status="200"}'] == 4
    assert values["recoseg_requests_total", '{method="GET",route="/health",status="404"}'] == 1
    assert values["recoseg_request_seconds_count", '{route="/segment"}'] == 4
    assert values["recoseg_request_seconds_sum", '{route="/segment"}'] == sum(seconds)
    assert values["recoseg_photos_total", ""] == 4
    assert values["recoseg_batches_total", ""] == 2
    assert values["recoseg_photos_waiting", ""] == 7
    bounds = re.findall(r'bucket\{route="/segment",le="([^"]+)"\} (\d+)', metrics.text())
    for bound, count in bounds:
        assert int(count) == sum(one <= float(bound.replace("+Inf", "inf")) for one in seconds)
    assert bounds[-1] == ("+Inf", "4")
    assert set(types.values()) == {"counter", "histogram", "gauge"}
