"""Measurements, as ratios to something measured in the same run; `make bench`, or `make bench BENCH=startup`."""
