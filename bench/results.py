#!/usr/bin/env python3
"""Tables of what compare.py and problems.py have measured, from the lines of JSON that they leave, and into RESULTS.md.

    bench/results.py rows*.jsonl [--write bench/RESULTS.md]            # the comparison with peers
    bench/results.py --goals rows*.jsonl [--write bench/RESULTS.md]    # smelt alone, beside what was measured and wanted before
    bench/results.py --problems problems*.jsonl --write bench/PROBLEMS.md
    bench/results.py --memory memory*.jsonl [--write bench/RESULTS.md]
    bench/results.py --errors errors*.jsonl [--write bench/RESULTS.md]

A later line about the same model (or problem) in the same precision takes the place of an earlier one, so that runs may be
taken in pieces; a peer that it lacks stays, with its ratio to smelt in its own run. --write replaces what stands between the lines `<!-- peers -->` and `<!-- end of peers -->` (`goals`, `problems`,
`memory` and `errors` likewise) of the file, or makes one; without it the text is printed. Floors and goals are those of bench/goals.tsv.
"""
import argparse
import json
import pathlib
import re
import statistics
import sys

NO_GOALS = (None,) * 4
GOALS = pathlib.Path(__file__).parent / "goals.tsv"


def read_goals():
    """{model: (peer, floor, first goal, goal)}, None where there is none."""
    lines = [line.split("\t") for line in GOALS.read_text().splitlines() if line and not line.startswith("#")]
    return {name: tuple(None if cell == "-" else float(cell) for cell in cells) for name, *cells in lines[1:]}


def read_rows(paths, key):
    found = {}
    for path in paths:
        for line in path.read_text().splitlines():
            row = json.loads(line)
            found[key(row)] = row
    return found


def read_comparison(paths):
    """Rows of compare.py by model and precision. Peers that a later run left out stay from the earlier one, each beside smelt's times of its own run."""
    found = {}
    for path in paths:
        for line in path.read_text().splitlines():
            row = json.loads(line)
            key = (row["model"], row["precision"])
            known, ours = found.get(key), row["times"].get("smelt")
            for name, times in row["times"].items():
                if name != "smelt" and ours is not None:
                    times["beside"] = ours
            row["runs"] = [row]
            if known is not None:
                row["runs"] = [*known["runs"], row]
                row["times"] = {**({name: times for name, times in known["times"].items() if name != "smelt" or ours is None}), **row["times"]}
                row["failed"] = {name: why for name, why in {**known.get("failed", {}), **row.get("failed", {})}.items() if name not in row["times"]}
            found[key] = row
    return found


def title(model):
    name, _, batch = model.rpartition("_b")
    return f"{name}, batch {batch}"


def table(heads, rows):
    return ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"] + ["| " + " | ".join(row) + " |" for row in rows]


def number(value, digits=3):
    return "-" if value is None else f"{value:.{digits}f}"


# -- the comparison --


def best_peer(row):
    """(name, its times) of the fastest beside smelt in the same run; None where no peer has a time."""
    ours = row["times"].get("smelt")
    timed = [(name, times) for name, times in row["times"].items() if name != "smelt"]
    return min(timed, key=lambda pair: pair[1]["ms"] / (pair[1].get("beside") or ours or {"ms": 1})["ms"]) if timed else None


def ratio(row):
    """Of smelt to the best peer: (of the medians, least, most), or None."""
    ours, best = row["times"].get("smelt"), best_peer(row)
    if ours is None or best is None:
        return None
    ours = best[1].get("beside") or ours
    return ours["ms"] / best[1]["ms"], ours["least"] / best[1]["most"], ours["most"] / best[1]["least"]


def comparison_cells(row, goals):
    ours, best, found = row["times"].get("smelt"), best_peer(row), ratio(row)
    _, floor, first, _ = goals.get(row["model"], NO_GOALS) if row["precision"] == "fp16" else NO_GOALS
    shown = "-" if found is None else f"{found[0]:.2f} ({found[1]:.2f} to {found[2]:.2f})"
    reached = "-" if ours is None or first is None else "yes" if ours["ms"] <= first else "**no**"
    return [title(row["model"]), number(ours and ours["ms"]), number(best and best[1]["ms"]), best[0] if best else "-",
            f"**{shown}**" if found and found[0] > 1 else shown, number(floor), number(first, 2), reached]


def beside_goals(rows, goals):
    """smelt's times beside those of goals.tsv."""
    cells = []
    for model, (peer, floor, first, goal) in goals.items():
        ours = rows.get((model, "fp16"), {"times": {}})["times"].get("smelt")
        if ours is None:
            continue
        ms = ours["ms"]
        cells.append([title(model), number(ms), number(peer), f"{ms / peer:.2f}" if ms <= peer else f"**{ms / peer:.2f}**", number(floor), f"{ms / floor:.1f}",
                      number(first, 2), "yes" if ms <= first else "**no**", number(goal, 2)])
    reached = sum(cell[7] == "yes" for cell in cells)
    return table(["model", "smelt ms", "peer ms (before)", "ratio", "floor ms", "times the floor", "first goal ms", "reached", "goal ms"], cells) + [
        "", f"The first goal is reached in {reached} of {len(cells)} rows."]


def peer_names(rows):
    return sorted({name for row in rows for name in (*row["times"], *row["failed"]) if name not in ("smelt", "all")})


def peers_cells(row, names):
    times = row["times"]
    judged = "torch eager" if "torch eager" in times else next((name for name in names if name in times), "torch eager")
    errors = [times.get(name, {}).get("error") for name in ("smelt", judged)]
    return [title(row["model"]), *(number(times.get(name, {}).get("ms")) for name in ("smelt", *names)),
            *("-" if error is None else f"{error:.1e}" for error in errors), number(row["build_s"], 1)]


def told(rows):
    """Dates, machines, versions and commands of the rows, each once."""
    lines = []
    for row in (run for row in rows for run in row.get("runs", [row])):
        if "versions" not in row:  # timed without torch
            continue
        versions = ", ".join(f"{name} {version}" for name, version in row["versions"].items() if version)
        line = f"{row['date']}, {row['device']}, {versions}: `{row['command']}`."
        if line not in lines:
            lines.append(line)
    return lines


def comparison(rows, goals):
    order = {name: place for place, name in enumerate(goals)}
    rows = sorted(rows.values(), key=lambda row: (row["precision"] != "fp16", row["precision"], order.get(row["model"], 99)))
    lines = told(rows) + ["", "Medians of rounds in turns; the ratio is to the best peer of the same run, with what the rounds' extremes give; below 1 smelt is faster.", ""]
    heads = ["model", "smelt ms", "best peer ms", "which", "ratio", "floor ms", "first goal ms", "reached"]
    for precision in dict.fromkeys(row["precision"] for row in rows):
        some = [row for row in rows if row["precision"] == precision]
        found = [ratio(row)[0] for row in some if ratio(row)]
        lines += [f"{precision.upper()}:", ""] + table(heads, [comparison_cells(row, goals) for row in some])
        if found:
            lines += ["", f"Faster than the best peer in {sum(r < 1 for r in found)} of {len(found)} rows, geometric mean of the ratios {statistics.geometric_mean(found):.2f}."]
        names = peer_names(some)
        lines += ["", "Milliseconds of each, errors relative to the range of torch's FP32 results, and seconds of smelt's build:", ""]
        lines += table(["model", "smelt", *names, "error", "torch's error", "build s"], [peers_cells(row, names) for row in some]) + [""]
    reasons = {}
    for row in rows:
        for name, reason in row["failed"].items():
            reasons.setdefault((name, re.sub(r"(\s|\\n)+", " ", reason)[:120]), []).append(row["model"])
    return lines + [f"- {name}: {reason} ({', '.join(models) if len(models) < 6 else f'{len(models)} models'})" for (name, reason), models in reasons.items()]


# -- problems --


def peer_time(row):
    """The best of torch and the libraries."""
    return min((time for time in (row["torch_us"], row["library_us"]) if time is not None), default=None)


def share(row):
    """Per cent of the best peer's speed."""
    peer = peer_time(row)
    return 100 * peer / row["smelt_us"] if peer is not None and row["smelt_us"] else None


def problems(rows):
    rows = sorted(rows.values(), key=lambda row: (share(row) is None, share(row) or 0))
    shares = [share(row) for row in rows if share(row) is not None]
    lines = told(rows) + [""]
    if shares:
        lines += [f"{len(rows)} problems, {len(shares)} with both times: the slowest at {min(shares):.0f} % of the best peer's speed, "
                  f"the median at {statistics.median(shares):.0f} %, {sum(s < 75 for s in shares)} below 75 %, {sum(s >= 100 for s in shares)} at 100 % and more.", ""]
    heads = ["problem", "models", "floor us", "untuned us", "smelt us", "% of floor", "tactic", "torch us", "library us", "% of the best"]
    cells = [[row["short"], " ".join(row["models"]), number(row["floor_us"], 2), number(row["untuned_us"], 2), number(row["smelt_us"], 2),
              number(100 * row["floor_us"] / row["smelt_us"] if row["smelt_us"] else None, 0), row["tactic"] or "-", number(row["torch_us"], 2),
              number(row["library_us"], 2), number(share(row), 0)] for row in rows]
    return lines + table(heads, cells)


# -- what memory bounds --


def memory_cells(row):
    """Its rate, beside that of a copy and, in brackets, of what reads and writes as many bytes each way."""
    if not row:
        return ["-"] * 4
    spread = f" ({number(100 * row['spread_us'] / row['us'], 0)})" if row.get("spread_us") else ""
    return [number(row["us"], 1), number(row["gb_per_s"], 0), number(100 * row["copy_us"] / row["us"], 0) + spread, row["tactic"]]


def memory(rows):
    """rows: of memory.py. A line for each name, with the tensor outside the L2 cache and the one inside it."""
    pairs = {}
    for row in rows:
        pairs.setdefault(row["name"], {})[row["large"]] = row
    heads = ["kernel", "outside L2: us", "GB/s", "% of copy", "tactic", "inside L2: us", "GB/s", "% of copy", "tactic"]
    return table(heads, [[name, *memory_cells(pair.get(True)), *memory_cells(pair.get(False))] for name, pair in pairs.items()])


# -- errors --


def error_cells(row, others, what, place):
    """Of one kind of error, number `place` of each pair: mean, least and greatest of each contestant, and smelt beside the others."""
    values = {name: [found[name][place] for found in row["errors"]] for name in row["errors"][0]}
    shown = {name: f"{statistics.mean(some):.2e} ({min(some):.1e} to {max(some):.1e})" for name, some in values.items()}
    beside = {name: f"{sum(ours <= theirs for ours, theirs in zip(values['smelt'], some))} of {len(some)}" for name, some in values.items()}
    return [f"{title(row['model'])}, {what}", shown["smelt"]] + [cell for name in others for cell in (shown.get(name, "-"), beside.get(name, "-"))]


def errors(rows):
    """rows: of errors.py. Two lines for each model."""
    others = list(dict.fromkeys(name for row in rows for name in row["errors"][0] if name != "smelt"))
    heads = ["error", "smelt"] + [head for name in others for head in (name, "smelt's at most that")]
    return table(heads, [error_cells(row, others, what, place) for row in rows for place, what in enumerate(("largest", "root mean square"))])


# -- files --


def replace(path, mark, lines):
    begin, end = f"<!-- {mark} -->", f"<!-- end of {mark} -->"
    text = path.read_text() if path.exists() else f"{begin}\n{end}\n"
    if begin not in text or end not in text:
        sys.exit(f"{path}: no '{begin}' and '{end}'")
    path.write_text(text[: text.index(begin) + len(begin)] + "\n" + "\n".join(lines) + "\n" + text[text.index(end) :])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=pathlib.Path)
    parser.add_argument("--goals", action="store_true", help="smelt's times beside those of goals.tsv")
    parser.add_argument("--problems", action="store_true", help="the files are of problems.py")
    parser.add_argument("--memory", action="store_true", help="the files are of memory.py")
    parser.add_argument("--errors", action="store_true", help="the files are of errors.py")
    parser.add_argument("--write", type=pathlib.Path)
    options = parser.parse_args()
    if options.problems:
        mark, lines = "problems", problems(read_rows(options.files, lambda row: row["problem"]))
    elif options.memory:
        mark, lines = "memory", memory(read_rows(options.files, lambda row: (row["name"], row["large"])).values())
    elif options.errors:
        rows = list(read_rows(options.files, lambda row: row["model"]).values())
        mark, lines = "errors", told(rows) + [""] + errors(rows)
    else:
        make, mark = (beside_goals, "goals") if options.goals else (comparison, "peers")
        lines = make(read_comparison(options.files), read_goals())
    if options.write:
        replace(options.write, mark, lines)
    else:
        print("\n".join(lines))


if __name__ == "__main__":
    main()
