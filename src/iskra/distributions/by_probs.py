"""What distributions have in common that are given by probabilities or by their logarithms."""

from iskra.distributions.utils import lazy_property, logits_to_probs, probs_to_logits


class ByProbs:
    """A distribution given by either of `probs` and `logits`; the other is made when it is asked
    for.

    `logits` are log-odds where probabilities are those of one event (`_is_binary`), else
    logarithms along the last dimension. `__init__` sets one of the two.
    """

    _is_binary = True

    @staticmethod
    def _check_one(probs, logits):
        if (probs is None) == (logits is None):
            raise ValueError("Either `probs` or `logits` must be specified, but not both.")

    @property
    def _given(self):
        return self.__dict__["probs" if "probs" in self.__dict__ else "logits"]

    @lazy_property
    def logits(self):
        """Logarithms of the probabilities, or log-odds."""
        return probs_to_logits(self.probs, is_binary=self._is_binary)

    @lazy_property
    def probs(self):
        """Probabilities."""
        return logits_to_probs(self.logits, is_binary=self._is_binary)

    @property
    def param_shape(self):
        """The shape of the parameter."""
        return self._given.size()
