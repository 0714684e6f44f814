"""What the pipelines of a run came to, as a Markdown table: mean and standard deviation over seeds, what trained, what is stored,
and on request how long it took.

    ftp run pipelines/efficient.ftp ... --store STORE --json > run.json
    python benches/results/table.py STORE run.json [another.json ...] [--split test] [--metric accuracy] [--times]

Figures are read from the manifests in the store. A stage that two pipelines of a run share has the name of one of them: give the events
of a run of the other by itself too (it trains nothing again). Times are those of the trainings that made the results, on the machine that made
them: they tell something where each ran by itself (`--no-sweep`, or one seed) and nothing else did. Needs Python 3.10 and nothing else.
"""

import argparse
import json
import pathlib
import re
import statistics


def manifests(store, events):
    """Results of the run's stages, in the order they came, each once under every name it came with."""
    found = {}
    for path in events:
        for line in path.read_text().splitlines():
            event = json.loads(line)
            if event["event"] in ("stage_finished", "stage_hit"):
                found[event["key"], event["stage"]] = None
    for key, stage in found:
        content = json.loads((store / "results" / key[:2] / f"{key}.json").read_text())
        yield stage, content["manifest"]


def spread(values, digits=4):
    mean = f"{statistics.mean(values):.{digits}f}"
    return mean if len(values) < 2 else f"{mean} ± {statistics.stdev(values):.{digits}f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=pathlib.Path)
    parser.add_argument("events", type=pathlib.Path, nargs="+")
    parser.add_argument("--split", default="test")
    parser.add_argument("--metric", action="append")
    parser.add_argument("--times", action="store_true")
    given = parser.parse_args()
    metrics = given.metric or ["accuracy", "matthews"]

    groups, baseline = {}, None
    for stage, manifest in manifests(given.store, given.events):
        summary = manifest["summary"]
        pipeline = re.search(r" in (\w+)(\[.*\])?$", stage)
        if pipeline is None or given.split not in summary.get("metrics", {}):
            continue
        values = dict(re.findall(r"(\w+) = ([^,\]]+)", pipeline.group(2) or ""))
        values.pop("seed", None)
        name = pipeline.group(1) + "".join(f" {key} {value}" for key, value in values.items())
        groups.setdefault(name, []).append(manifest)
        # It answers one split: test, or dev where there is no other.
        if given.split == "test" or "test" not in summary["metrics"]:
            baseline = summary["baseline"]

    columns = ["runs", *metrics, "trained", "stored, MB"] + (["time, s"] if given.times else [])
    print("| pipeline | " + " | ".join(columns) + " |")
    print("| --- |" + " --: |" * len(columns))
    for name, found in groups.items():
        of = lambda manifest, metric: manifest["summary"]["metrics"][given.split][metric]
        cells = [spread([of(one, metric) for one in found]) for metric in metrics]
        parameters = [one["summary"]["parameters"] for one in found]
        trained = statistics.mean(counted["trained"] / counted["total"] for counted in parameters)
        stored = statistics.mean(sum(file["bytes"] for file in one["files"].values()) for one in found)
        cells = [name, str(len(found)), *cells, f"{100 * trained:.3g} %", f"{stored / 1e6:.3g}"]
        cells += [spread([one["record"]["seconds"] for one in found], 1)] if given.times else []
        print("| " + " | ".join(cells) + " |")
    if baseline:
        cells = [f"{baseline['metrics'][metric]:.4f}" for metric in metrics]
        cells = [baseline["name"], "", *cells, "0"]
        print("| " + " | ".join(cells + [""] * (1 + len(columns) - len(cells))) + " |")


main()
