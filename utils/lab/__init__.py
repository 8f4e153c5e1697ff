"""The live lab: a figure that trains while its reader moves the sliders."""

from utils.lab.widget import Lab

__all__ = ["Lab"]
