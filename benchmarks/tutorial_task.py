"""The method of the Azure Batch tutorial's `python_tutorial_task.py`, with its two slips mended, so that it compares.

It reads a file whole, splits, strips and counts; here UTF-8 is told, and nothing but punctuation is no word.
"""

import argparse
import collections
import os
import string

parser = argparse.ArgumentParser()
parser.add_argument("filepath")
parser.add_argument("--numwords", type=int, default=3)
args = parser.parse_args()

with open(os.path.realpath(args.filepath), encoding="utf-8-sig", errors="replace") as f:  # noqa: PTH123  # as it was
    words = [word.strip(string.punctuation) for word in f.read().split()]
word_counts = collections.Counter(words)
del word_counts[""]
for word, count in sorted(word_counts.items(), key=lambda item: (-item[1], item[0]))[: args.numwords]:
    print(f"{word}:\t{count}")  # noqa: T201
