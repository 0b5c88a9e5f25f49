"""The demo: a support-desk workflow whose customers and experts are simulated, and named so everywhere."""
