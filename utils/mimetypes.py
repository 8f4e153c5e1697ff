"""The names under which a notebook stores what the book draws."""

FIGURE = "application/vnd.plotly.v1+json"
LAB = "application/vnd.regularization.lab+json"
WIDGET = "application/vnd.jupyter.widget-view+json"
