"""The offline preview: the real program under a stand-in for Pulumi's engine, and what can be said of the result.

`record` turns a stack into a graph; everything else is a pure function of one graph or of two, and a section in each
report.
"""
