#!/usr/bin/env python3
"""Sums up a file of sales by region: a table on stdout, and the same as a CSV file.

usage: report.py [SALES_CSV [SUMMARY_CSV]]

REPORT_TITLE   what stands above the table
REPORT_REGION  only this region
"""

import csv
import os
import sys
from collections import defaultdict
from decimal import Decimal, InvalidOperation


def read_sales(path):
    """The rows that make sense; the others are named on stderr."""
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        for row in reader:
            try:
                units, price = int(row["units"]), Decimal(row["unit_price"])
            except (ValueError, InvalidOperation):
                print(f"{path}:{reader.line_num}: order {row['order']} is left out: not a number", file=sys.stderr, flush=True)
                continue
            yield row["region"], row["product"], units, units * price


def summarize(sales, only_region):
    regions = defaultdict(lambda: {"orders": 0, "units": 0, "revenue": Decimal(0), "products": defaultdict(Decimal)})
    for region, product, units, revenue in sales:
        if only_region and region != only_region:
            continue
        entry = regions[region]
        entry["orders"] += 1
        entry["units"] += units
        entry["revenue"] += revenue
        entry["products"][product] += revenue
    return {
        region: (entry["orders"], entry["units"], entry["revenue"], max(entry["products"], key=entry["products"].get))
        for region, entry in sorted(regions.items())
    }


def main():
    path = sys.argv[1] if len(sys.argv) > 1 else "data/sales.csv"
    target = sys.argv[2] if len(sys.argv) > 2 else "summary.csv"
    only_region = os.environ.get("REPORT_REGION", "")
    try:
        summary = summarize(read_sales(path), only_region)
    except (OSError, KeyError) as error:
        sys.exit(f"{path}: cannot be read as sales: {error}")
    if not summary:
        sys.exit(f"{path}: no sales" + (f" in region {only_region}" if only_region else ""))

    title = os.environ.get("REPORT_TITLE", "Sales by region")
    print(title)
    print("=" * len(title))
    print(f"{'region':<8} {'orders':>6} {'units':>6} {'revenue':>12}  best product")
    for region, (orders, units, revenue, best) in summary.items():
        print(f"{region:<8} {orders:>6} {units:>6} {revenue:>12,.2f}  {best}")
    orders, units, revenue = (sum(entry[column] for entry in summary.values()) for column in range(3))
    print(f"{'total':<8} {orders:>6} {units:>6} {revenue:>12,.2f}")

    with open(target, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["region", "orders", "units", "revenue", "best_product"])
        writer.writerows([region, *entry] for region, entry in summary.items())
    print(f"wrote {target}")


if __name__ == "__main__":
    main()
