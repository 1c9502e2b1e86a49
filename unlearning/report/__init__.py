"""Pictures and pages made from a report. No torch: arrays in, PNG and HTML out."""
