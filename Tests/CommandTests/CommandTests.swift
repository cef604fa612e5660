import Checkpoints
import Foundation
import JSON
import Tensors
import TestKit
import Testing

/// The command as a user runs it: exit codes, what is on which stream, what is left on disk.
struct CommandTests {
    /// What a run of `vlm` gave.
    private struct Outcome {
        let code: Int32
        let output: String
        let error: String
    }

    /// The built command lies beside the test bundle.
    private static let executable: URL = {
        let bundle = URL(fileURLWithPath: CommandLine.arguments[0]).resolvingSymlinksInPath().deletingLastPathComponent()
        return bundle.appendingPathComponent("vlm")
    }()

    private func vlm(_ arguments: String...) throws -> Outcome { try launch(Self.executable.path, arguments) }

    private func launch(_ executable: String, _ arguments: [String]) throws -> Outcome {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: executable)
        process.arguments = arguments
        let (output, error) = (Pipe(), Pipe())
        process.standardOutput = output
        process.standardError = error
        process.standardInput = FileHandle.nullDevice
        try process.run()
        let outputData = output.fileHandleForReading.readDataToEndOfFile()
        let errorData = error.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return Outcome(
            code: process.terminationStatus, output: String(decoding: outputData, as: UTF8.self),
            error: String(decoding: errorData, as: UTF8.self))
    }

    private func shell(_ script: String) throws -> Outcome { try launch("/bin/sh", ["-c", script]) }

    private var qwen: String { Fixtures.path("models/qwen2_5_vl/checkpoint") }

    /// The arrays of a safetensors file and their dimensions.
    private func dimensions(_ path: String) throws -> [String: [Int]] {
        Dictionary(uniqueKeysWithValues: try SafetensorsFile(path: path).tensors.map { ($0.name, $0.dimensions) })
    }

    /// A folder that is removed when the test ends.
    private func withFolder(_ body: (String) throws -> Void) throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("vlm-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        try body(folder.path)
    }

    /// A copy of a fixture's checkpoint in which one file has other content.
    private func withChanged(_ file: String, _ change: (Data) throws -> Data?, _ body: (String) throws -> Void) throws {
        try withFolder { folder in
            let copy = folder + "/model"
            try FileManager.default.copyItem(atPath: qwen, toPath: copy)
            let path = URL(fileURLWithPath: copy + "/" + file)
            if let data = try change(Data(contentsOf: path)) {
                try data.write(to: path)
            } else {
                try FileManager.default.removeItem(at: path)
            }
            try body(copy)
        }
    }

    /// Exit code 2, one line on standard error with all of `words`, nothing on standard output.
    private func expectRefusal(_ outcome: Outcome, _ words: String...) {
        #expect(outcome.code == 2, "\(outcome.error)")
        #expect(outcome.output.isEmpty)
        #expect(outcome.error.hasPrefix("vlm: "))
        #expect(outcome.error.filter { $0 == "\n" }.count == 1, "\(outcome.error)")
        for word in words { #expect(outcome.error.contains(word), "\(word) is not in: \(outcome.error)") }
    }

    // MARK: What works

    @Test func jsonOutputHasTheContractsFields() throws {
        let outcome = try vlm(
            "run", qwen, "hello", "--output", "json", "--max-new-tokens", "5", "--ignore-eos", "--logprobs", "2", "--dtype",
            "float32")
        #expect(outcome.code == 0, "\(outcome.error)")
        #expect(outcome.error.isEmpty)
        let object = try JSONValue(parsing: Array(outcome.output.utf8), source: "output")
        #expect(object["token_ids"]?.arrayValue?.count == 5)
        #expect(object["generate_token_len"]?.intValue == 5)
        #expect((object["input_token_len"]?.intValue ?? 0) > 5)
        #expect(object["finish_reason"]?.stringValue == "length")
        #expect(object["logprobs"]?.arrayValue?.count == 5)
        #expect(object["index"]?.intValue == 0)
        #expect(object["text"]?.stringValue != nil)
    }

    @Test func benchUnderLoadHasTheContractsFields() throws {
        try withFolder { folder in
            for arguments in [[], ["--repeat-images"], ["--rate", "200"]] {
                let plot = folder + "/plot.svg"
                let outcome = try launch(
                    Self.executable.path,
                    [
                        "bench", qwen, "--concurrency", "3", "--requests", "8", "--new-tokens", "4", "--image-size", "56x56",
                        "--plot",
                        plot, "--output", "json",
                    ] + arguments)
                #expect(outcome.code == 0, "\(outcome.error)")
                #expect(outcome.error.isEmpty)
                let object = try JSONValue(parsing: Array(outcome.output.utf8), source: "output")
                let perSecond = try #require(object["requests_per_second"]?.doubleValue)
                let seconds = try #require(object["seconds"]?.doubleValue)
                #expect(abs(perSecond * seconds - 8) < 1e-6)
                let tokensPerSecond = try #require(object["output_tokens_per_second"]?.doubleValue)
                #expect(abs(tokensPerSecond / perSecond - 4) < 1e-6)
                for key in ["ttft_ms", "itl_ms"] {
                    let values = try ["p50", "p95", "p99"].map { try #require(object[key]?[$0]?.doubleValue) }
                    #expect(values == values.sorted() && values[0] > 0)
                }
                for key in ["prefix_cache_hit_rate", "image_cache_hit_rate"] {
                    #expect((0...1).contains(try #require(object[key]?.doubleValue)))
                }
                // Four pictures in eight requests, or eight.
                #expect(object["image_cache_hit_rate"]?.doubleValue == (arguments == ["--repeat-images"] ? 0.5 : 0))
                #expect((object["peak_memory_bytes"]?.intValue ?? 0) > 1 << 20)
                #expect(object["failed_requests"]?.intValue == 0)
                let svg = try String(contentsOfFile: plot, encoding: .utf8)
                #expect(svg.hasPrefix("<svg xmlns=") && svg.hasSuffix("</svg>\n"))
                #expect(!svg.contains("nan") && !svg.contains("inf"))
                // A bar before and after the first token of each request, among others.
                #expect(svg.components(separatedBy: "<rect").count > 16)
            }
        }
    }

    @Test func benchMeasuresWhatAServiceGains() throws {
        let outcome = try vlm(
            "bench", qwen, "--stages", "second-question", "many", "scheduler", "--runs", "1", "--new-tokens", "3", "--image-size",
            "56x56", "--output", "json")
        #expect(outcome.code == 0, "\(outcome.error)")
        let object = try JSONValue(parsing: Array(outcome.output.utf8), source: "output")
        #expect((object["second_question"]?["share_of_first"]?.doubleValue ?? 0) > 0)
        #expect((object["scheduler"]?["p95_microseconds"]?.doubleValue ?? 0) > 0)
        for kind in ["text", "repeated", "pictures"] {
            #expect((object["together_\(kind)"]?["times_of_one"]?.doubleValue ?? 0) > 0)
        }
    }

    @Test func benchRefusesWhatContradicts() throws {
        expectRefusal(try vlm("bench", qwen, "--concurrency", "2", "--requests", "4", "8"), "--requests")
        expectRefusal(try vlm("bench", qwen, "--rate", "3"), "--concurrency")
        expectRefusal(try vlm("bench", qwen, "--concurrency", "2", "--rate", "0"), "--rate")
        expectRefusal(try vlm("bench", qwen, "--concurrency", "0"), "--concurrency")
        expectRefusal(try vlm("bench", qwen, "--concurrency", "2", "--stages", "decode"), "--stages")
        expectRefusal(try vlm("bench", qwen, "--concurrency", "2", "--plot", "/no/such/folder/a.svg"), "/no/such/folder")
    }

    @Test func stopTextsAndTokenLimitsEndAnswers() throws {
        let outcome = try vlm("run", qwen, "hello", "--max-new-tokens", "0", "--output", "json")
        #expect(outcome.code == 0)
        let object = try JSONValue(parsing: Array(outcome.output.utf8), source: "output")
        #expect(object["token_ids"]?.arrayValue?.isEmpty == true)
    }

    @Test func logitsAndTracesAreFilesOfTheirShapes() throws {
        try withFolder { folder in
            let outcome = try vlm(
                "run", qwen, "hello", "--max-new-tokens", "3", "--ignore-eos", "--output-logits", "generation", "--logits-file",
                folder + "/logits.safetensors")
            #expect(outcome.code == 0, "\(outcome.error)")
            #expect(try dimensions(folder + "/logits.safetensors")["logits"]?.first == 3)

            let messages = #"[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "square.png"}}]}]"#
            try messages.write(toFile: folder + "/messages.json", atomically: true, encoding: .utf8)
            try FileManager.default.copyItem(
                atPath: Fixtures.path("models/images/square.png"), toPath: folder + "/square.png")
            let trace = try vlm(
                "trace", qwen, "--messages", folder + "/messages.json", "--out", folder + "/trace.safetensors", "--dtype",
                "float32")
            #expect(trace.code == 0, "\(trace.error)")
            let arrays = try dimensions(folder + "/trace.safetensors")
            #expect(arrays["logits"]?.first == arrays["input_ids"]?.first)
            #expect(arrays["image_grid_thw"] == [1, 3])
            #expect(arrays["pixel_values"]?.count == 2)
            #expect(arrays["image_features"]?.count == 2)
        }
    }

    @Test func inspectPlansWithoutLoading() throws {
        let outcome = try vlm("inspect", qwen, "--output", "json", "--session-len", "256")
        #expect(outcome.code == 0, "\(outcome.error)")
        let object = try JSONValue(parsing: Array(outcome.output.utf8), source: "output")
        #expect(object["family"]?.stringValue == "Qwen2.5-VL")
        #expect(object["session_len"]?.intValue == 256)
        #expect((object["weight_bytes"]?.intValue ?? 0) > 0)
    }

    @Test func dummyWeightsNeedNoTensors() throws {
        try withChanged("model.safetensors", { _ in nil }) { model in
            let outcome = try vlm("run", model, "hello", "--weights", "dummy:3", "--max-new-tokens", "4", "--ignore-eos")
            #expect(outcome.code == 0, "\(outcome.error)")
            expectRefusal(try vlm("run", model, "hello"), "model.safetensors")
        }
    }

    @Test func templatesAndTokens() throws {
        try withFolder { folder in
            try "{{ greeting | upper }}\n".write(toFile: folder + "/t.jinja", atomically: true, encoding: .utf8)
            try #"{"greeting": "hello"}"#.write(toFile: folder + "/c.json", atomically: true, encoding: .utf8)
            let rendered = try vlm("render-template", "--template", folder + "/t.jinja", "--context", folder + "/c.json")
            #expect(rendered.output == "HELLO")
            try "hello".write(toFile: folder + "/text", atomically: true, encoding: .utf8)
            let ids = try vlm("tokenize", qwen, "--text-file", folder + "/text")
            #expect(try JSONValue(parsing: Array(ids.output.utf8), source: "output").arrayValue?.isEmpty == false)
        }
    }

    @Test func theReadmesTableIsTheRegistrys() throws {
        let readme = try String(contentsOfFile: Fixtures.root + "/../../README.md", encoding: .utf8)
        #expect(readme.contains(try vlm("families").output), "put the output of `vlm families` into README.md")
    }

    @Test func theDemoModelReadsTheExample() throws {
        let examples = Fixtures.root + "/../../Examples"
        let sign = try vlm("run", "demo", "What does the sign say?", "--image", examples + "/sign.png")
        #expect(sign.code == 0, "\(sign.error)")
        #expect(sign.output == "FRESH COFFEE\n")
    }

    @Test func chatsArePipedRewoundAndSaved() throws {
        try withFolder { folder in
            let sign = Fixtures.root + "/../../Examples/sign.png"
            func chat(_ lines: String..., options: String = "") throws -> Outcome {
                try lines.joined(separator: "\n").write(toFile: folder + "/lines", atomically: true, encoding: .utf8)
                return try shell("\(Self.executable.path) chat demo \(options) < \(folder)/lines")
            }
            let first = try chat(
                "/image \(sign)", "What does the sign say?", "/save \(folder)/chat.json", "/rewind", "/rewind", "/rewind x",
                "/load",
                "/load \(folder)/none.json", "/nonsense", "/load \(folder)/chat.json", "What does the sign say?", "/exit", "hello"
            )
            #expect(first.code == 0)
            #expect(first.output == "FRESH COFFEE\nFRESH COFFEE\n")
            let errors = first.error.split(separator: "\n")
            #expect(errors.count == 5, "\(first.error)")
            for (line, words) in zip(errors, ["0", "/rewind takes", "/load FILE", "none.json", "/nonsense"]) {
                #expect(line.hasPrefix("vlm: ") && line.contains(words), "\(line)")
            }
            let second = try chat("What does the sign say?", options: "--load \(folder)/chat.json")
            #expect(second.output == "FRESH COFFEE\n", "\(second.error)")
            expectRefusal(try vlm("chat", "demo", "--load", folder + "/none.json"), "none.json")
            expectRefusal(try vlm("chat", "demo", "--load", folder + "/chat.json", "--system", "x"), "--system")
        }
    }

    /// In a process of its own, so that nobody else's memory is counted.
    @Test func closingGivesTheProcessesMemoryBack() throws {
        let outcome = try vlm(
            "soak", "demo", "--requests", "60", "--concurrency", "8", "--lines", "3", "--output", "json", "--image",
            Fixtures.root + "/../../Examples/sign.png")
        #expect(outcome.code == 0, "\(outcome.error)")
        let object = try JSONValue(parsing: Array(outcome.output.utf8), source: "output")
        #expect(object["rows"]?.arrayValue?.count == 3)
        let memory = try #require(object["memory"])
        let (before, loaded, closed) = (
            try #require(memory["before loading"]?.intValue), try #require(memory["loaded"]?.intValue),
            try #require(memory["closed"]?.intValue)
        )
        // The weights alone are 48 MB; what stays is what the allocator and the system's libraries keep.
        #expect(loaded - before > 48_000_000)
        #expect(closed - before < 40_000_000, "\(memory.serialized())")
    }

    /// A pipe in the place of a file, and a device or link in the place of an output file, stay what they are.
    @Test func pipesDevicesAndLinks() throws {
        try withFolder { folder in
            let messages = #"[{"role": "user", "content": "hello"}]"#
            try messages.write(toFile: folder + "/messages.json", atomically: true, encoding: .utf8)
            let piped = try shell(
                "cat \(folder)/messages.json | \(Self.executable.path) run \(qwen) --messages /dev/stdin --max-new-tokens 1")
            #expect(piped.code == 0, "\(piped.error)")

            #expect(mkfifo(folder + "/fifo", 0o600) == 0)
            let trace = try shell(
                "cat \(folder)/fifo > \(folder)/copy & \(Self.executable.path) trace \(qwen) --messages \(folder)/messages.json"
                    + " --out \(folder)/fifo; code=$?; wait; exit $code")
            #expect(trace.code == 0, "\(trace.error)")
            #expect(try dimensions(folder + "/copy")["logits"] != nil)
            let kind = try FileManager.default.attributesOfItem(atPath: folder + "/fifo")[.type] as? FileAttributeType
            #expect(kind != .typeRegular)

            try Data().write(to: URL(fileURLWithPath: folder + "/real"))
            try FileManager.default.createSymbolicLink(atPath: folder + "/link", withDestinationPath: folder + "/real")
            let linked = try vlm("trace", qwen, "--messages", folder + "/messages.json", "--out", folder + "/link")
            #expect(linked.code == 0, "\(linked.error)")
            #expect(try dimensions(folder + "/real")["logits"] != nil)
            #expect(try FileManager.default.destinationOfSymbolicLink(atPath: folder + "/link") == folder + "/real")
            expectRefusal(try vlm("trace", qwen, "--messages", folder + "/messages.json", "--out", folder), "folder")
        }
    }

    #if os(Linux)
    @Test func outputThatCannotBeWrittenIsAFailure() throws {
        let outcome = try shell("\(Self.executable.path) families > /dev/full")
        #expect(outcome.code == 1)
        #expect(outcome.error.contains("standard output"))
    }
    #endif

    /// Dynamic NTK scaling is for sessions longer than `max_position_embeddings`.
    @Test func dynamicScalingReachesPastTheTrainedLength() throws {
        let model = Fixtures.path("models/internvl/checkpoint")  // 2048 positions, factor 2
        let outcome = try vlm("inspect", model, "--output", "json", "--session-len", "4096")
        #expect(outcome.code == 0, "\(outcome.error)")
        expectRefusal(try vlm("inspect", model, "--session-len", "4097"), "4096")
    }

    // MARK: What is refused

    @Test func unusableArguments() throws {
        expectRefusal(try vlm("run"), "MODEL".lowercased())
        expectRefusal(try vlm("run", qwen), "prompt")
        expectRefusal(try vlm("run", qwen, "hello", "--temperature", "-1"), "temperature must be 0 or a positive number, not -1")
        expectRefusal(try vlm("run", qwen, "hello", "--seed", "-1"), "'-1' is invalid")
        #expect(try vlm("run", qwen, "hello", "--stop", "-", "--max-new-tokens", "1").code == 0)
        expectRefusal(try shell("\(Self.executable.path) run \(qwen) \"$(printf 'a\\377')\""), "UTF-8")
        expectRefusal(try vlm("run", qwen, "hello", "--dtype", "int3"), "int3")
        expectRefusal(try vlm("run", qwen, "hello", "--device", "abacus"), "abacus")
        expectRefusal(try vlm("run", qwen, "hello", "--output-logits", "all"), "--logits-file")
        expectRefusal(try vlm("run", qwen, "hello", "--weights", "random"), "dummy:SEED")
        expectRefusal(try vlm("run", qwen, "hello", "--session-len", "100000000"), "--session-len")
        expectRefusal(try vlm("run", qwen, "hello", "--frobnicate"), "frobnicate")
    }

    /// Sizes of any magnitude are answered, never trapped on.
    @Test(arguments: [
        "--max-batch-size", "--vision-max-batch-size", "--cache-block-seq-len", "--max-prefill-token-num",
        "--cache-max-entry-count",
        "--session-len", "--threads",
    ]) func enormousSizes(option: String) throws {
        for value in ["4611686018427387904", "9223372036854775807"] {
            expectRefusal(try vlm("inspect", qwen, option, value))
        }
        if option == "--cache-max-entry-count" {
            for value in ["inf", "1e300", "nan"] {
                expectRefusal(try vlm("inspect", qwen, option, value), "--cache-max-entry-count")
            }
            #expect(try vlm("inspect", qwen, option, "2147483647").code == 1)
        }
    }

    @Test func formsThatCannotBeHeld() throws {
        expectRefusal(try vlm("run", qwen, "x", "--regex", "(a"), "regex:", "')'")
        try withFolder { folder in
            let schema = folder + "/schema.json"
            try Data(#"{"type": "integer", "multipleOf": 7}"#.utf8).write(to: URL(fileURLWithPath: schema))
            expectRefusal(try vlm("run", qwen, "x", "--json-schema", schema), "multipleOf")
        }
    }

    @Test func modelsThatAreNot() throws {
        expectRefusal(try vlm("run", "/no/such/folder", "hello"), "/no/such/folder")
        expectRefusal(try vlm("run", "nobody/nothing", "hello"), "nobody/nothing")
        expectRefusal(try vlm("run", Fixtures.path("models/images"), "hello"), "config.json")
        try withChanged("config.json", { _ in Data("{".utf8) }) { expectRefusal(try vlm("run", $0, "hello"), "config.json") }
        try withChanged(
            "config.json", { Data(String(decoding: $0, as: UTF8.self).replacing("Qwen2_5_VLFor", with: "Qwen9For").utf8) }
        ) {
            expectRefusal(try vlm("run", $0, "hello"), "Qwen9ForConditionalGeneration", "Qwen2_5_VLForConditionalGeneration")
        }
        try withChanged(
            "config.json",
            { Data(String(decoding: $0, as: UTF8.self).replacing("\"rms_norm_eps\": ", with: "\"rms_norm_eps\": -").utf8) }
        ) {
            expectRefusal(try vlm("run", $0, "hello"), "rms_norm_eps")
        }
        try withChanged("tokenizer.json", { $0.prefix($0.count / 2) }) {
            expectRefusal(try vlm("run", $0, "hello"), "tokenizer.json")
        }
    }

    @Test func weightsThatDoNotFit() throws {
        try withChanged("model.safetensors", { $0.prefix($0.count - 100) }) {
            expectRefusal(try vlm("run", $0, "hello"), "model.safetensors")
        }
        try withChanged(
            "config.json",
            {
                Data(
                    String(decoding: $0, as: UTF8.self).replacing("\"num_hidden_layers\": 3", with: "\"num_hidden_layers\": 4")
                        .utf8)
            }
        ) { model in
            let changed = try String(contentsOfFile: model + "/config.json", encoding: .utf8)
            try #require(changed.contains("\"num_hidden_layers\": 4"), "the fixture has another number of layers")
            expectRefusal(try vlm("run", model, "hello"), "layers.3")
        }
    }

    @Test func messagesThatAreNot() throws {
        let cases: [(json: String, word: String)] = [
            ("[]", "messages"), ("{}", "list"), ("[{", "JSON"), (#"[{"content": "x"}]"#, "role"),
            (#"[{"role": "wizard", "content": "x"}]"#, "wizard"), (#"[{"role": "user", "content": 3}]"#, "content"),
            (#"[{"role": "user", "content": []}]"#, "content"),
            (#"[{"role": "user", "content": [{"type": "smell", "text": "x"}]}]"#, "smell"),
            (#"[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "missing.png"}}]}]"#, "missing.png"),
            (#"[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": ""}}]}]"#, "empty"),
            ("{}", "messages.json"),
        ]
        try withFolder { folder in
            let path = folder + "/messages.json"
            try String(repeating: "[", count: 100_000).write(toFile: path, atomically: true, encoding: .utf8)
            let nested = try vlm("run", qwen, "--messages", path)
            expectRefusal(nested, "nested")
            #expect(nested.error.count < 600)
            for (json, word) in cases {
                try json.write(toFile: path, atomically: true, encoding: .utf8)
                expectRefusal(try vlm("run", qwen, "--messages", path), word)
                expectRefusal(try vlm("trace", qwen, "--messages", path, "--out", folder + "/out.safetensors"), word)
            }
            try FileManager.default.removeItem(atPath: path)
            try "[]".write(toFile: path, atomically: true, encoding: .utf8)
            // Root may read everything.
            if geteuid() != 0 {
                try FileManager.default.setAttributes([.posixPermissions: 0], ofItemAtPath: path)
                expectRefusal(try vlm("run", qwen, "--messages", path), "permissions")
                try FileManager.default.removeItem(atPath: path)
            }
            try Data([0x5B, 0xFF, 0x5D]).write(to: URL(fileURLWithPath: path))
            expectRefusal(try vlm("run", qwen, "--messages", path), "UTF-8")
            #expect(!FileManager.default.fileExists(atPath: folder + "/out.safetensors"))
        }
    }

    @Test func picturesThatAreNot() throws {
        try withFolder { folder in
            let path = folder + "/picture.png"
            for bytes in [Data(), Data("not a picture".utf8), Data([0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A])] {
                try bytes.write(to: URL(fileURLWithPath: path))
                expectRefusal(try vlm("run", qwen, "look", "--image", path), "picture.png")
            }
        }
        expectRefusal(try vlm("run", qwen, "look", "--image", "/no/such.png"), "/no/such.png")
        expectRefusal(try vlm("run", qwen, "look", "--image", "http://127.0.0.1:9/a.png"), "127.0.0.1")
        expectRefusal(
            try vlm(
                "run", Fixtures.path("models/qwen2/checkpoint"), "look", "--image", Fixtures.path("models/images/square.png")),
            "text model")
    }

    @Test func requestsAreTimedAloneAndTogether() throws {
        let outcome = try vlm(
            "bench", qwen, "--requests", "2", "--runs", "1", "--new-tokens", "4", "--prompt-tokens", "40", "--image-size",
            "56x56",
            "--device", "cpu", "--output", "json")
        #expect(outcome.code == 0, "\(outcome.error)")
        let object = try JSONValue(parsing: Array(outcome.output.utf8), source: "output")
        for key in [
            "request_first_token", "request_decode", "text_first_token", "long_prompt", "vision_1", "vision_64", "first_tokens_2",
            "requests_2", "requests_2_streamed",
        ] {
            #expect((object[key]?["median_seconds"]?.doubleValue ?? 0) > 0, "\(key)")
            #expect((object[key]?["ceiling_share"]?.doubleValue ?? 0) > 0, "\(key)")
        }
        #expect(object["requests_2"]?["tokens_per_second"] != nil)
    }

    // MARK: A machine without a GPU

    /// Where there is a GPU these tests do not apply.
    private func hasGPU() throws -> Bool { try vlm("doctor", "--device", "cuda", "--quick", "--only", "scatterRows").code == 0 }

    @Test func gpusThatAreNotThereAreRefusedInOneLine() throws {
        guard try !hasGPU() else { return }
        expectRefusal(try vlm("run", qwen, "hello", "--device", "cuda"), "driver", "--device cpu")
        expectRefusal(try vlm("run", qwen, "hello", "--device", "cuda:9", "--dtype", "float16"), "driver")
        expectRefusal(try vlm("inspect", qwen, "--device", "cuda"), "driver")
        expectRefusal(try vlm("doctor", "--device", "cuda:x"), "cuda:x")
        expectRefusal(try vlm("run", qwen, "hello", "--device", "gpu"), "--device gpu")
    }

    @Test func autoFallsBackWithOneLine() throws {
        guard try !hasGPU() else { return }
        let asked = try vlm("run", qwen, "hello", "--device", "auto", "--max-new-tokens", "2", "--ignore-eos")
        #expect(asked.code == 0)
        #expect(asked.error.hasPrefix("vlm: running on the CPU: "))
        #expect(asked.error.filter { $0 == "\n" }.count == 1, "\(asked.error)")
        // Who names no device is not bothered.
        let silent = try vlm("run", qwen, "hello", "--max-new-tokens", "2", "--ignore-eos")
        #expect(silent.code == 0 && silent.error.isEmpty, "\(silent.error)")
        #expect(silent.output == asked.output)
    }

    @Test func doctorTellsWhatIsMissing() throws {
        let outcome = try vlm("doctor", "--quick", "--only", "scatterRows")
        #expect(outcome.code == 0, "\(outcome.error)")
        for word in ["driver: ", "NVRTC: ", "cuBLASLt: ", "cpu: ", "kernels, float32: ", "kernels, bfloat16: "] {
            #expect(outcome.output.contains(word), "\(word)")
        }
        guard try !hasGPU() else { return }
        #expect(outcome.output.contains("cuda: not usable"))
    }

    @Test func architecturesThatAreNoneAreRefused() throws {
        expectRefusal(try vlm("doctor", "--compile-kernels", "sm_75"), "sm_75")
        expectRefusal(try vlm("doctor", "--dtype", "float32"), "--device cuda")
    }

    /// The bad conversation fails alone; the exit code still says that input was at fault.
    @Test func badConversationsInABatch() throws {
        try withFolder { folder in
            let path = folder + "/messages.json"
            let part = #"{"type": "image_url", "image_url": {"url": "missing.png"}}"#
            try #"[[{"role": "user", "content": "hello"}], [{"role": "user", "content": [\#(part)]}]]"#.write(
                toFile: path, atomically: true, encoding: .utf8)
            let outcome = try vlm("run", qwen, "--messages", path, "--max-new-tokens", "2", "--ignore-eos", "--output", "json")
            #expect(outcome.code == 2)
            #expect(outcome.error.contains("conversation 1") && outcome.error.contains("missing.png"))
            let answers = try outcome.output.split(separator: "\n").map {
                try JSONValue(parsing: Array($0.utf8), source: "output")
            }
            #expect(answers.map { $0["finish_reason"]?.stringValue } == ["length", "error"])
            #expect(answers.first?["token_ids"]?.arrayValue?.count == 2)
        }
    }

    @Test func promptsThatAreTooLong() throws {
        let words = String(repeating: "word ", count: 400)
        expectRefusal(try vlm("run", qwen, words, "--session-len", "64"), "64", "--session-len")
    }
}
