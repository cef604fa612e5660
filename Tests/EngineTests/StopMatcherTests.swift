import Engine
import Testing

struct StopMatcherTests {
    /// Feeds `text` in every way of cutting it once or twice and expects the same shown text.
    private func shown(_ pieces: [String], words: [String], keepsWord: Bool = false) -> (text: String, stopped: Bool) {
        var matcher = StopMatcher(words: words, keepsWord: keepsWord)
        var all = ""
        for piece in pieces {
            let (text, stopped) = matcher.append(piece)
            all += text
            if stopped { return (all, true) }
        }
        return (all + matcher.flush(), false)
    }

    @Test(arguments: 0...12) func findsAWordAcrossEveryCut(cut: Int) {
        let text = "one two STOP three"
        let index = text.index(text.startIndex, offsetBy: cut)
        let result = shown([String(text[..<index]), String(text[index...])], words: ["STOP"])
        #expect(result.text == "one two ")
        #expect(result.stopped)
    }

    @Test func holdsBackOnlyWhatCouldBeAStopWord() {
        var matcher = StopMatcher(words: ["###"], keepsWord: false)
        #expect(matcher.append("a#") == ("a", false))
        #expect(matcher.append("#b") == ("##b", false))
        #expect(matcher.append("##") == ("", false))
        #expect(matcher.flush() == "##")
    }

    @Test func theFirstWordWinsAndOfTwoThereTheLonger() {
        #expect(shown(["abcd"], words: ["cd", "bc"]).text == "a")
        #expect(shown(["abcd"], words: ["b", "bc"], keepsWord: true).text == "abc")
    }

    @Test func keepsTheWordWhenAsked() {
        #expect(shown(["hello wo", "rld!"], words: ["world"], keepsWord: true).text == "hello world")
    }

    @Test func neverSplitsACharacter() {
        // The first bytes of é and è are the same, so é could begin the stop word until its last byte is there.
        let result = shown(["caf", "é", " noir"], words: ["è"])
        #expect(result.text == "café noir")
        #expect(!result.stopped)
    }

    @Test func withoutWordsEverythingPasses() {
        #expect(shown(["a", "b"], words: []).text == "ab")
    }
}

private func == (a: (text: String, stopped: Bool), b: (String, Bool)) -> Bool { a.text == b.0 && a.stopped == b.1 }
