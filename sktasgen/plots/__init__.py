"""Pictures of labels, explanations and scores, drawn with matplotlib.

Each class holds the arrays of one picture: ``from_estimator`` computes them,
``plot`` draws them, on axes that are given or on new ones.
"""

from .attribution import AttributionDisplay
from .scores import ScoreDisplay
from .timeline import TimelineDisplay

__all__ = ["AttributionDisplay", "ScoreDisplay", "TimelineDisplay"]
