"""Datasets: accepted corrections and demonstrations become training rows that never touch the benchmark."""
