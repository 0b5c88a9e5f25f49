"""Statistics that several stages share: intervals of rates and paired comparisons of two arms."""
