"""The loop, in order: traces > failures > corrections > datasets > training > evaluation > promotion > report.

One thin file a stage, asset and checks together. `benchmark` stands beside the loop; `automation` starts it.
"""
