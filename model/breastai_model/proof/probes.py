"""Fresh readers of frozen features: whether they can tell the modality, the latents, the other stream, the same patient.

Method section (vii), Leakage test, Information-content tests, Cross-modal projection. Each probe is trained on some of the
held-out patients and judged on others; the training discriminators' own losses are never used.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Literal

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from breastai_model.proof.intervals import Interval, mean_interval, r2_interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

Kind = Literal["linear", "mlp"]
REPEATS = 5
HIDDEN = 64
ITERATIONS = 200


def leakage(
    mri: NDArray[np.float64], us: NDArray[np.float64], kind: Kind, seed: int = 0, *, swap: bool = False, repeats: int = REPEATS
) -> Interval:
    """Return how often a fresh probe names the modality of a feature, chance 0.5, with the interval over patients.

    Half the patients train the probe, both features of each; the other half judge it; five such splits. The interval draws
    whole patients again: each one's mean over its features and over the splits in which it judged.

    Parameters
    ----------
    mri, us
        (patient, d) the features of the two modalities of the same patients.
    swap
        The negative control: modality labels are swapped within a random half of the pairs, so that there is nothing to
        learn.
    """
    count = len(mri)
    right, judged = np.zeros(count), np.zeros(count)
    for repeat in range(repeats):
        rng = np.random.default_rng([seed, repeat, 5])
        order = rng.permutation(count)
        learn, judge = order[: count // 2], order[count // 2 :]
        turned = rng.random(count) < 0.5 if swap else np.zeros(count, dtype=bool)
        names = np.stack([turned, ~turned], axis=1).astype(np.int64)  # of (mri, us)
        pairs = np.stack([mri, us], axis=1)
        probe = _classifier(kind, seed + repeat)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a probe that would go on learning is still a probe
            probe.fit(pairs[learn].reshape(-1, mri.shape[1]), names[learn].ravel())
        said = probe.predict(pairs[judge].reshape(-1, mri.shape[1])).reshape(-1, 2)
        right[judge] += (said == names[judge]).mean(axis=1)
        judged[judge] += 1
    known = judged > 0
    return mean_interval(right[known], seed, judged[known])


def explained(features: NDArray[np.float64], targets: NDArray[np.float64], kind: Kind, seed: int = 0) -> Interval:
    """Return R^2 of the targets (patient, k) predicted from the features (patient, d) by a fresh regressor, on held-out patients."""
    order = np.random.default_rng([seed, 6]).permutation(len(features))
    learn, judge = order[: len(order) // 2], order[len(order) // 2 :]
    inputs, outputs = StandardScaler().fit(features[learn]), StandardScaler().fit(targets[learn])
    if kind == "linear":
        probe = Ridge(alpha=1.0)
    else:
        probe = MLPRegressor(
            hidden_layer_sizes=(HIDDEN,),
            alpha=1e-3,
            max_iter=ITERATIONS,
            early_stopping=True,
            n_iter_no_change=15,
            learning_rate_init=3e-3,
            random_state=seed,
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        probe.fit(inputs.transform(features[learn]), outputs.transform(targets[learn]))
    said = np.asarray(probe.predict(inputs.transform(features[judge])), dtype=np.float64).reshape(len(judge), -1)
    return r2_interval(said, outputs.transform(targets[judge]), seed)


def retrieval(queries: NDArray[np.float64], gallery: NDArray[np.float64], seed: int = 0) -> Interval:
    """Return how often the nearest of the gallery's features (by cosine) belongs to the query's own patient; chance 1/n."""
    own = unit(queries) @ unit(gallery).T
    return mean_interval((own.argmax(axis=1) == np.arange(len(own))).astype(np.float64), seed)


def linear_cka(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return linear centred kernel alignment of (patient, d) features, 0 to 1 (Kornblith et al., ICML 2019)."""
    x, y = first - first.mean(axis=0), second - second.mean(axis=0)
    across = float(np.square(x.T @ y).sum())
    return across / max(float(np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)), 1e-12)


def canonical_correlations(
    first: NDArray[np.float64], second: NDArray[np.float64], count: int, seed: int = 0, ridge: float = 1e-3
) -> NDArray[np.float64]:
    """Return the first canonical correlations between two features, found on half the patients and measured on the others."""
    order = np.random.default_rng([seed, 7]).permutation(len(first))
    learn, judge = order[: len(order) // 2], order[len(order) // 2 :]
    x, y = (StandardScaler().fit(each[learn]) for each in (first, second))
    a, b = x.transform(first[learn]), y.transform(second[learn])
    white_a, white_b = _whitening(a, ridge), _whitening(b, ridge)
    left, _, right = np.linalg.svd(white_a.T @ (a.T @ b / len(a)) @ white_b)
    u = x.transform(first[judge]) @ white_a @ left[:, :count]
    v = y.transform(second[judge]) @ white_b @ right[:count].T
    return np.array([float(np.corrcoef(u[:, place], v[:, place])[0, 1]) for place in range(count)])


def unit(features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (patient, d) features divided by their length."""
    divided: NDArray[np.float64] = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    return divided


def _whitening(values: NDArray[np.float64], ridge: float) -> NDArray[np.float64]:
    """Return W with W^T C W = I for the covariance C, its diagonal raised by the ridge."""
    covariance = values.T @ values / len(values) + ridge * np.eye(values.shape[1])
    eigenvalues, vectors = np.linalg.eigh(covariance)
    made: NDArray[np.float64] = vectors / np.sqrt(np.maximum(eigenvalues, 1e-12))
    return made


def _classifier(kind: Kind, seed: int) -> Pipeline:
    if kind == "linear":
        return make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=500))
    return make_pipeline(
        StandardScaler(),
        MLPClassifier(
            hidden_layer_sizes=(HIDDEN,),
            alpha=1e-3,
            max_iter=ITERATIONS,
            early_stopping=True,
            n_iter_no_change=15,
            learning_rate_init=3e-3,
            random_state=seed,
        ),
    )
