"""What must survive: kills at random moments, full disks, races, broken files. `make faults`; the children are stand-ins."""
