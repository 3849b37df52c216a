"""The paper's studies on any model of an atlas: held-out text in, tables with intervals out."""
