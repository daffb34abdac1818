"""Terms of texts are counted as scikit-learn's vectorizers count them, in every alphabet."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.utils import murmurhash3_32

from servefit.backends.pipelines import _kernel
from servefit.backends.pipelines.categories import TEXT, ColumnAt
from servefit.backends.pipelines.known_steps import known_step
from servefit.backends.pipelines.values import MixedTable, dense

DOCUMENTS = (
    "The good, the bad and the ugly; it's 5 o'clock_now",
    "École naïve, İzmir ΣΟΦΟΣ σοφος straße",
    "e\u0301cole nai\u0308ve  two  spaces\tand a tab",
    "日本語 テキスト ﬁne ½ cup 😀 x",
)
VECTORIZERS: dict[str, Any] = {
    "words": lambda: CountVectorizer(),
    "words of one letter": lambda: CountVectorizer(token_pattern=r"(?u)\b\w+\b", lowercase=False),
    "words of three letters": lambda: CountVectorizer(token_pattern=r"\b\w\w\w+\b"),
    "neighbours without some words": lambda: CountVectorizer(ngram_range=(1, 3), stop_words=["the", "and"]),
    "pairs alone": lambda: CountVectorizer(ngram_range=(2, 2), token_pattern=r"\b\w+\b"),
    "without accents": lambda: CountVectorizer(strip_accents="unicode", ngram_range=(1, 2)),
    "in ASCII": lambda: TfidfVectorizer(strip_accents="ascii"),
    "letters": lambda: TfidfVectorizer(analyzer="char", ngram_range=(1, 4)),
    "letters of words": lambda: TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True),
    "a pattern of one's own": lambda: CountVectorizer(token_pattern=r"[a-z]+"),
    "hashed": lambda: HashingVectorizer(n_features=37),
    "hashed one way": lambda: HashingVectorizer(n_features=16, alternate_sign=False, norm="l1", ngram_range=(1, 2)),
    "hashed letters": lambda: HashingVectorizer(n_features=8, analyzer="char", binary=True, norm=None),
}
LETTERS = st.one_of(
    st.sampled_from("aAbz_9'-.,; \t\n\x1c\x85\u00a0\u2003"),
    st.sampled_from("éÉe\u0301ßıİſΣσςﬁ½²日語ﷺ😀\u200d\u0345Ǆǅ"),
    st.characters(exclude_categories=["Cs"]),
)


@pytest.mark.parametrize("name", VECTORIZERS)
@given(
    texts=st.lists(
        st.one_of(st.text(LETTERS, max_size=30), st.lists(st.sampled_from(DOCUMENTS), max_size=2).map(" ".join)),
        min_size=1,
        max_size=4,
    )
)
def test_terms_are_counted_as_scikit_learn_counts_them(name: str, texts: list[str]) -> None:
    vectorizer = VECTORIZERS[name]().fit(DOCUMENTS)
    step = known_step(vectorizer, (ColumnAt(TEXT, 0),))
    assert step is not None
    for own in (step, pickle.loads(pickle.dumps(step))):
        for _ in range(2):  # letters are learned by the first call
            counted = dense(own(MixedTable(np.zeros((len(texts), 0)), [[text.encode() for text in texts]])))
            np.testing.assert_allclose(counted, vectorizer.transform(texts).toarray(), rtol=1e-15)


@given(st.binary(max_size=40))
def test_terms_are_hashed_as_scikit_learn_hashes_them(term: bytes) -> None:
    assert _kernel.murmur(term) == murmurhash3_32(term, seed=0)


def kernel(**options: Any) -> _kernel.TermCounter:
    usual = {"unit": "word", "least_letters": 2, "shortest": 1, "longest": 1, "width": 2, "vocabulary": {"ab": 1}}
    return _kernel.TermCounter(**{**usual, "alternating": False, "left_out": (), **options})


@pytest.mark.parametrize(
    "options",
    [
        {"unit": "line"},
        {"shortest": 0},
        {"shortest": 3, "longest": 2},
        {"width": 0},
        {"width": 2**31},
        {"width": 2**32 + 1},
        {"longest": 2**32 + 1},
        {"least_letters": -1},
        {"vocabulary": ["ab"]},
        {"vocabulary": {"ab": 2}},
    ],
)
def test_terms_of_no_kind_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"no terms of this kind|beyond the width"):
        kernel(**options)


@pytest.mark.parametrize("code", [-1, 0x110000, 2**33])
def test_a_number_that_no_letter_has_is_not_learned(code: int) -> None:
    with pytest.raises(ValueError, match="there is no letter"):
        kernel().learn(code, b"a", bytes(1))


@pytest.mark.parametrize("becomes", [b"a" * 17, b"aaaaa", b"\x80a"])
def test_a_letter_that_becomes_too_much_is_not_learned(becomes: bytes) -> None:
    with pytest.raises(ValueError, match="becomes 4 letters of 16 bytes"):
        kernel().learn(65, becomes, bytes(1))


@pytest.mark.parametrize(
    "text", [b"\x80", b"\xc1\xa1", b"\xe0\x80\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xf0\x9f\x98", b"a"]
)
def test_what_is_no_utf_8_and_letters_that_were_not_learned_are_left_to_the_caller(text: bytes) -> None:
    terms = kernel()
    terms.learn(0xD800, b"a", bytes([1]))
    terms.learn(0, b"", b"")
    assert terms.count([b"\0\0", text]) == (b"", b"", b"", [1])


def test_terms_are_made_once_and_count_bytes_alone() -> None:
    terms = kernel()
    with pytest.raises(RuntimeError, match="made once"):
        terms.__init__(  # type: ignore[misc]
            unit="word",
            least_letters=1,
            shortest=1,
            longest=1,
            width=1,
            vocabulary=None,
            alternating=False,
            left_out=(),
        )
    with pytest.raises(TypeError):
        terms.count([b"", "text"])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="a list of bytes"):
        terms.count((b"",))  # type: ignore[arg-type]
