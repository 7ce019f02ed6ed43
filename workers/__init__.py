"""Workers act: they apply the inbox, let time pass, and wake when they are hinted at.

One path: whatever happens becomes an inbox row, and `applying` turns rows into saved tasks in one transaction. A hint only says
that there may be rows; the sweep finds them without any.
"""
