"""A peer's own report on two folders of Parquet files: ``scale_peers.py evidently|nannyml SOURCE TARGET``.

Reads both sides with pandas, without the label, and prints one JSON line: seconds of the report (reading excluded),
largest memory of the process, what it says.
"""

import json
import sys
import time
from pathlib import Path

import pandas as pd


def evidently(source, target):
    from evidently import Report
    from evidently.presets import DataDriftPreset

    result = Report([DataDriftPreset()]).run(target, source).dict()
    share = result["metrics"][0]["value"]
    return f"{share['count']:.0f} columns drifted"


def nannyml(source, target):
    from nannyml import UnivariateDriftCalculator

    calculator = UnivariateDriftCalculator(column_names=list(source.columns))
    frame = calculator.fit(source).calculate(target).filter(period="analysis").to_df()
    alerts = frame.loc[:, frame.columns.get_level_values(-1) == "alert"]
    return f"{int(alerts.any().sum())} columns alerted"


def main():
    name, *folders = sys.argv[1:]
    source, target = (pd.read_parquet(folder).drop(columns="y") for folder in folders)
    start = time.perf_counter()
    verdict = {"evidently": evidently, "nannyml": nannyml}[name](source, target)
    seconds = time.perf_counter() - start
    lines = Path("/proc/self/status").read_text().splitlines()
    mb = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    print(json.dumps({"seconds": seconds, "mb": mb, "verdict": verdict}))


if __name__ == "__main__":
    main()
