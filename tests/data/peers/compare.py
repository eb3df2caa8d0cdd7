#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""compare.py PEERS IMAGES CASE...: each case's expect with IMAGES/CASE, but for what PEERS/differences has. Prints "ok CASE[, but: why]"
or "no CASE" for each, and writes what is amiss to IMAGES/CASE.amiss."""
import difflib, os, sys


def lines_of(path):
    with open(path, encoding="utf-8") as f:
        return [l for l in f.read().splitlines() if not l.startswith("#")]


def differences(path):
    """Of each case, the reason and the lines: paragraphs of "# why", "== case" ("*" for all) and "< expected" or "> given"."""
    found, why = {}, ""
    with open(path, encoding="utf-8") as f:
        for line in f.read().splitlines():
            if line.startswith("# "):
                why = (why + " " if why else "") + line[2:]
            elif line.startswith("== "):
                for case in line[3:].split():
                    assert case not in found, f"{path}: {case} twice"
                    found[case] = (why, lines := [])
            elif line:
                lines.append(line)
            else:
                why = ""
    return found


def differ(want, got):
    # Only BuildKit's history is of the Dockerfile's instructions.
    if want != ["fails"] and not any(l.startswith("history ") for l in want):
        got = [l for l in got if not l.startswith("history ")]
    return [l[0].translate({45: "<", 43: ">"}) + " " + l[2:] for l in difflib.ndiff(want, got) if l[0] in "-+"]


def main():
    peers, images, *cases = sys.argv[1:]
    known = differences(os.path.join(peers, "differences"))
    for case in cases:
        want = lines_of(os.path.join(peers, "cases", case, "expect"))
        got = lines_of(os.path.join(images, case))
        why, allowed = known.pop(case, ("", []))
        everywhere = known["*"][1]
        found = [l for l in differ(want, got) if l not in everywhere]
        if sorted(found) == sorted(allowed):
            print(f"ok {case}" + (f", but: {why}" if why else ""))
            continue
        print(f"no {case}")
        with open(os.path.join(images, case + ".amiss"), "w", encoding="utf-8") as f:
            f.write("".join(l + "\n" for l in found if l not in allowed))
            f.write("".join(f"no longer: {l}\n" for l in allowed if l not in found))


main()
