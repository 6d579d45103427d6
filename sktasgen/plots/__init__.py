"""Pictures of labels, explanations, scores and maps, drawn with matplotlib.

Each class holds the arrays of one picture: ``from_estimator`` computes them,
``plot`` draws them, on axes that are given or on new ones.
"""

from .attribution import AttributionDisplay
from .maps import MapDisplay
from .scores import ScoreDisplay
from .timeline import TimelineDisplay

__all__ = ["AttributionDisplay", "MapDisplay", "ScoreDisplay", "TimelineDisplay"]
