"""Mixtures of distributions of one family."""

from iskra.autograd import no_grad
from iskra.core import Size
from iskra.distributions import constraints
from iskra.distributions.categorical import Categorical
from iskra.distributions.distribution import Distribution
from iskra.ops import log_softmax, logsumexp

__all__ = ["MixtureSameFamily"]


class MixtureSameFamily(Distribution):
    """One of the components along the last batch dimension, chosen by `mixture_distribution`.

    >>> import iskra as torch
    >>> D = torch.distributions
    >>> d = D.MixtureSameFamily(D.Categorical(torch.ones(2)), D.Normal(torch.tensor([-1., 1.]), 1.))
    >>> d.mean, d.variance
    (tensor(0.), tensor(2.))
    """

    arg_constraints = {}
    _fields = {"_component_distribution": 1, "_mixture_distribution": 0}

    def __init__(self, mixture_distribution, component_distribution, validate_args=None):
        mixture, component = mixture_distribution, component_distribution
        if not isinstance(mixture, Categorical):
            raise ValueError(
                " The Mixture distribution needs to be an instance of distributions.Categorical"
            )
        if not isinstance(component, Distribution):
            raise ValueError(
                "The Component distribution need to be an instance of distributions.Distribution"
            )
        batch = component.batch_shape[:-1]
        for ours, theirs in zip(reversed(mixture.batch_shape), reversed(batch), strict=False):
            if ours != 1 and theirs != 1 and ours != theirs:
                raise ValueError(
                    f"`mixture_distribution.batch_shape` ({mixture.batch_shape}) is not compatible "
                    f"with `component_distribution.batch_shape`({batch})"
                )
        count = mixture.logits.shape[-1]
        if count != component.batch_shape[-1]:
            raise ValueError(
                f"`mixture_distribution component` ({count}) does not equal "
                f"`component_distribution.batch_shape[-1]` ({component.batch_shape[-1]})"
            )
        self._mixture_distribution, self._component_distribution = mixture, component
        super().__init__(batch, component.event_shape, validate_args)

    mixture_distribution = property(lambda self: self._mixture_distribution)
    component_distribution = property(lambda self: self._component_distribution)

    @constraints.dependent_property
    def support(self):
        return self._component_distribution.support

    def _chances(self):
        """The components' chances, with dimensions for the event."""
        probs = self.mixture_distribution.probs
        return probs.reshape(probs.shape + (1,) * len(self._event_shape))

    @property
    def _along(self):
        return -1 - len(self._event_shape)

    @property
    def mean(self):
        return (self._chances() * self.component_distribution.mean).sum(self._along)

    @property
    def variance(self):
        chances, component = self._chances(), self.component_distribution
        within = (chances * component.variance).sum(self._along)
        away = component.mean - self.mean.unsqueeze(self._along)
        return within + (chances * away.pow(2.0)).sum(self._along)

    def cdf(self, x):
        shares = self.component_distribution.cdf(x.unsqueeze(self._along))
        return (shares * self.mixture_distribution.probs).sum(-1)

    def sample(self, sample_shape=()):
        with no_grad():
            chosen = self.mixture_distribution.sample(sample_shape)
            values = self.component_distribution.sample(sample_shape)
            one = chosen.reshape(chosen.shape + (1,) * (len(self._event_shape) + 1))
            place = len(Size(sample_shape)) + len(self._batch_shape)
            shape = values.shape[:place] + (1,) + values.shape[place + 1:]
            return values.gather(place, one.expand(shape)).squeeze(place)

    def log_prob(self, x):
        if self._validate_args:
            self._validate_sample(x)
        each = self.component_distribution.log_prob(x.unsqueeze(self._along))
        return logsumexp(each + log_softmax(self.mixture_distribution.logits, -1), -1)

    def __repr__(self):
        return (f"{type(self).__name__}(\n  {self.mixture_distribution},\n  "
                f"{self.component_distribution})")
