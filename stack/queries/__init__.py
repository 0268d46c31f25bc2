"""Each query once, by name, in every engine's dialect; used by dashboards, rules and checks."""
