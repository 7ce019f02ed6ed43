"""Folds the facts of one lineage: sorted facts are cut into runs, and each run is folded to a view.

Everything here is a function of the *set* of facts: the order in which callbacks arrive, and repeats, change nothing.

* `runs` - cuts sorted facts into runs, each one life of the task at the vendor.
* `run_scan` - first pass over a run's facts: what one look at each fact can find.
* `run_progress` - second pass: applies the facts one by one to state, outputs, files and times.
* `run_end` - decides whether and how the run ended.
* `run_view` - `View`, the current state of one run, and `fold_run`, which puts the passes together.
* `compaction` - drops repeated facts of a long lineage, without any loss.
* `thinning` - limits the facts of one very long run to those its view depends on, and the newest.
* `archiving` - archives the oldest runs of a key that is used again and again.
* `output_limits` - limits the files and outputs that are kept per task.
"""
