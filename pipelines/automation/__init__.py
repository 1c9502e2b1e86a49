"""What happens by itself: sealing, alarms, refusals, dead runs. Plain functions; the sensors are in sensors.py."""
