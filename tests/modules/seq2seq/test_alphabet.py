import numpy

from spacy_rnn.modules.seq2seq.alphabet import END, N_SPECIAL, UNKNOWN, Alphabet

A, B = N_SPECIAL, N_SPECIAL + 1


def test_what_is_not_in_the_alphabet_has_a_symbol_of_its_own_in_each_string():
    sources = Alphabet("ab").encode(["aéb", "xyx", ""])
    assert sources.lengths == [4, 4, 1]
    assert sources.chars.tolist() == [A, UNKNOWN, B, END, UNKNOWN, UNKNOWN, UNKNOWN, END, END]
    # After the two characters, "x" and "y" by where they are first.
    assert sources.copied.tolist() == [A, 5, B, END, 4, 5, 4, END, END]


def test_a_decoder_reads_the_end_first_and_what_it_has_to_write():
    targets = Alphabet("ab").encode_targets(["aé", "b"], ["éa", ""])
    assert targets.symbols.tolist() == [5, A, END, END]
    assert targets.inputs.tolist() == [END, UNKNOWN, A, END]
    assert targets.lengths == [3, 1]


def test_symbols_become_strings_again():
    alphabet = Alphabet("ab")
    for word, target in [("aéb", "béé"), ("", ""), ("xyx", "yxa")]:
        symbols = alphabet.encode_targets([word], [target]).symbols
        assert alphabet.decode(symbols[:-1], word) == target
        assert alphabet.can_write(word, target)
    assert not alphabet.can_write("ab", "c")


def test_rare_characters_are_to_be_copied():
    alphabet = Alphabet.count([("abé", "aé"), ("b", "x"), ("ab", "a")], 2)
    # "é" can be copied, "x" can't.
    assert alphabet.chars == ["a", "b", "x"]
    assert len(alphabet) == N_SPECIAL + 3
    assert numpy.array_equal(alphabet.to_inputs(numpy.array([A, 5, 9])), [A, UNKNOWN, UNKNOWN])
