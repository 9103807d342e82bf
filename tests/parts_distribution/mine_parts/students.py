"""Students: a Gaussian for each label, and a forest, on sentence vectors."""

from __future__ import annotations

from sklearn.ensemble import RandomForestClassifier
from sklearn.naive_bayes import GaussianNB

from counterpoise.students.sklearn_student import SklearnStudent

GAUSSIANS = SklearnStudent("mine.gaussians", GaussianNB(var_smoothing=0.1))
FOREST = SklearnStudent("mine.forest", RandomForestClassifier(n_estimators=20))
