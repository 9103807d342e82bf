"""A student: a Gaussian for each label, on sentence vectors."""

from __future__ import annotations

from sklearn.naive_bayes import GaussianNB

from counterpoise.students.sklearn_student import SklearnStudent

GAUSSIANS = SklearnStudent("mine.gaussians", GaussianNB(var_smoothing=0.1))
