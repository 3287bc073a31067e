"""The questions of transfer learning, answered from what a study has measured.

One file is one question: its ``KEY``, its ``QUESTION`` and ``answered``, which returns rows for the
report and the card, and the plain data of its picture where it has one. `asking` lists them; a
question without rows is left out. The picture is a file in ``report/figures`` whose `Picture` names
the question's key.
"""
