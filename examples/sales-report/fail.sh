#!/bin/sh
# Fails, after saying why: exit code 3, or the one given.
#
# usage: fail.sh [EXIT_CODE]
echo "checking the price list"
echo "fail.sh: data/prices.csv is not there, so nothing can be priced" >&2
exit "${1:-3}"
