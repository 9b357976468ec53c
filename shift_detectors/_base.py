"""What every detector is: parameters, one quantity, one ``test`` method."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any, ClassVar

from sklearn.base import BaseEstimator

from ._boundary import read_problem
from ._copies import compared_target
from ._errors import InputError
from ._results import ShiftTestResult
from ._table import Problem


class BaseDetector(BaseEstimator):
    """A test of equality between source and target.

    A subclass sets `quantity` and `requires` and implements ``_test(problem)``; its ``__init__`` stores its
    parameters unchanged.
    """

    quantity: ClassVar[str] = ""
    requires: ClassVar[frozenset[str]] = frozenset()

    def test(
        self,
        X_source: Any,
        X_target: Any,
        *,
        y_source: Any = None,
        y_target: Any = None,
        task: str = "auto",
        groups: Any = None,
        groups_target: Any = None,
        sample_weight: Any = None,
        sample_weight_target: Any = None,
        source_domain: Any = None,
        representation: Any = None,
        exclude: Any = (),
    ) -> ShiftTestResult:
        """Test whether source and target agree in `quantity`.

        Parameters
        ----------
        X_source, X_target : array, DataFrame or sparse matrix of shape (n_rows, n_features)
        y_source, y_target : array-like of shape (n_rows,), optional
            Needed where `requires` says so. Missing values in `y_target` mean "unlabelled".
        task : {"auto", "classification", "regression"}
        groups, groups_target : array-like of shape (n_rows,), optional
            Rows that belong together are permuted and folded together.
        sample_weight, sample_weight_target : array-like of shape (n_rows,), optional
            What a row represents: the weighted samples are compared. Exact levels become approximate where the weights
            of the two sides differ or depend on x. Inverse probabilities with which labelled target rows were chosen
            are passed beside one constant for the unlabelled rows, such as 1; where labels play no part, all target
            rows then count alike.
        source_domain : array-like of shape (n_source,), optional
            Ids of several sources; checked and kept, the tests compare the pooled source.
        representation : transformer, Pipeline of transformers, function, or (torch module, layer name), optional
            What the rows are seen through: the tests get its output. An unfitted transformer is cloned and fitted,
            without labels, on the rows of both sides together. One that was fitted, or trained, on the rows of one side
            only makes p-values small without a shift: pass it unfitted, or fit it on rows of neither side.
        exclude : sequence of str
            Columns left out.

        Returns
        -------
        ShiftTestResult
        """
        given = {"y_source": y_source, "y_target": y_target}
        missing = sorted(name for name in self.requires if given[name] is None)
        if missing:
            raise InputError(
                f"{type(self).__name__} was called without {' and '.join(missing)}",
                f"a call with {' and '.join(sorted(self.requires))}",
                f"{self.quantity} cannot be compared without labels on both sides."
                if "y_target" in missing
                else "Pass the source labels.",
            )
        problem = read_problem(
            X_source,
            y_source,
            X_target,
            y_target,
            task=task,
            groups=groups,
            groups_target=groups_target,
            sample_weight=sample_weight,
            sample_weight_target=sample_weight_target,
            source_domain=source_domain,
            representation=representation,
            exclude=exclude,
        )
        return self.run(problem)

    def run(self, problem: Problem) -> ShiftTestResult:
        """Test an already checked problem (what `diagnose` calls)."""
        if "y_target" in self.requires and not problem.n_labelled:
            raise InputError(
                f"{type(self).__name__} was given no target label",
                "some labelled target rows",
                f"{self.quantity} cannot be compared without labels on both sides.",
            )
        start = time.perf_counter()
        if "y_target" not in self.requires:
            problem = problem.seen()
            problem = problem.with_target(compared_target(problem))
        result = self._test(problem)
        return replace(result, seconds=time.perf_counter() - start)

    def _test(self, problem: Problem) -> ShiftTestResult:
        raise NotImplementedError
