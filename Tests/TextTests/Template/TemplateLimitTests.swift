import Foundation
import JSON
import TestKit
import Testing
import Text

/// Templates are data from strangers: whatever they ask for, they end, in bounded time and memory, with a typed error.
struct TemplateLimitTests {
    /// Each template would hang, exhaust memory or overflow the stack without limits.
    static let hostile: [String] = [
        // Loops and recursion
        "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
        "{% for a in range(100000) %}{% for b in range(100000) %}x{% endfor %}{% endfor %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{% call a() %}{% endcall %}{% endmacro %}{{ a() }}",
        "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
        "{{ range(10 ** 18) }}", "{{ range(-(2 ** 62), 2 ** 62) }}",
        // Text
        "{{ 'a' * 10 ** 10 }}", "{{ 10 ** 15 * 'ab' }}",
        "{% set ns = namespace(s='a') %}{% for x in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
        "{% set ns = namespace(s='aa') %}{% for x in range(99) %}{% set ns.s = ns.s.replace('a', ns.s) %}{% endfor %}",
        "{{ 'x'.center(10 ** 12) }}", "{{ 'x'.zfill(10 ** 12) }}", "{{ 'x'|center(10 ** 12) }}",
        "{{ 'x'|indent(10 ** 12, true) }}",
        "{{ '\\t'.expandtabs(10 ** 12) }}", "{{ '%1000000000000d' % 1 }}", "{{ '%.1000000000000d' % 1 }}",
        "{{ '%*d' % (10 ** 12, 1) }}", "{{ '{:1000000000000}'.format(1) }}",
        "{{ '{:{}}'.format(1, 10 ** 12) }}", "{{ '{:01000000000,}'.format(1) }}", "{{ [1]|tojson(indent=10 ** 12) }}",
        "{{ ('a' * 16000000) ~ ('a' * 16000000) }}", "{{ (['a' * 1000000] * 1000)|join }}",
        "{{ 'aaaaaaaaaaaaaaaaaaaaaaaaaaaa'.join('a' * 900000) }}",
        // Collections
        "{{ [0] * 10 ** 10 }}", "{{ ([0] * 1000000) + ([0] * 1000000) }}", "{{ [1]|batch(10 ** 12, 0)|list }}",
        "{{ [1]|slice(10 ** 12)|list }}",
        "{% set ns = namespace(l=[1]) %}{% for x in range(99) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l }}",
        "{% set ns = namespace(a=[1], b=[1]) %}{% for x in range(60) %}{% set ns.a = [ns.a, ns.a] %}{% set ns.b = [ns.b, ns.b] %}{% endfor %}{{ ns.a == ns.b }}",
        "{% set ns = namespace(l=[1]) %}{% for x in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l|tojson }}",
        "{% set ns = namespace(l=(1,)) %}{% for x in range(60) %}{% set ns.l = (ns.l, ns.l) %}{% endfor %}{{ {ns.l: 1} }}",
        "{% set ns = namespace(l=[1]) %}{% for x in range(99999) %}{% set ns.l = [ns.l] %}{% endfor %}",
        "{% set ns = namespace(l={}) %}{% for x in range(99999) %}{% set ns.l = {'a': ns.l} %}{% endfor %}",
        "{% set ns = namespace(g=[1]) %}{% for x in range(99999) %}{% set ns.g = ns.g|map('string') %}{% endfor %}{{ ns.g|list }}",
        // Work that is quadratic in its input
        "{% for x in range(100000) %}{{ 'b' in 'a' * 1000000 }}{% endfor %}",
        "{% set l = [0] * 1000000 %}{% for x in range(100000) %}{{ 1 in l }}{% endfor %}",
        "{% set s = 'a' * 1000000 %}{% for x in range(100000) %}{{ s|length }}{% endfor %}",
        "{% set s = 'a' * 1000000 %}{% for x in range(100000) %}{{ s[0] }}{% endfor %}",
        "{% set s = 'a' * 1000000 %}{% for x in range(100000) %}{{ s == 'a' * 1000000 }}{% endfor %}",
        "{% set s = 'a' * 1000000 %}{% for x in range(100000) %}{{ s is lower }}{% endfor %}",
        // Integers
        "{{ 10 ** 100 }}", "{{ 9223372036854775807 + 1 }}", "{{ -9223372036854775807 - 2 }}",
        "{{ (-9223372036854775807 - 1) // -1 }}",
        "{{ -(-9223372036854775807 - 1) }}", "{{ 99999999999 * 99999999999 }}", "{{ 99999999999999999999 }}", "{{ 1e300|int }}",
        // Syntax
        String(repeating: "(", count: 100_000),
        "{{ " + String(repeating: "(", count: 100_000) + "1" + String(repeating: ")", count: 100_000) + " }}",
        "{{ " + String(repeating: "[", count: 100_000) + " }}", "{{ " + String(repeating: "-", count: 100_000) + "1 }}",
        "{{ " + String(repeating: "not ", count: 100_000) + "1 }}",
        "{{ 1" + String(repeating: "|abs", count: 100_000) + " }}", "{{ a" + String(repeating: ".b", count: 100_000) + " }}",
        "{{ 1" + String(repeating: " + 1", count: 100_000) + " }}",
        "{{ 1" + String(repeating: " if 1 else 1", count: 100_000) + " }}",
        "{{ a" + String(repeating: "()", count: 100_000) + " }}",
        String(repeating: "{% if 1 %}", count: 100_000), String(repeating: "{% for x in y %}", count: 1_000),
        "{{ 1 is " + String(repeating: "eq(1 is ", count: 10_000),
    ]

    @Test func hostileTemplatesEndWithAnError() {
        // Fewer steps than by default only make the test faster: the work grows without end.
        var limits = TemplateLimits()
        limits.steps = 1_000_000
        for template in Self.hostile {
            do throws(JinjaError) {
                let text = try JinjaTemplate(source: template, name: "hostile", limits: limits).render([:])
                // Unbalanced brackets outside tags are text.
                if !template.hasPrefix("(") { Issue.record("\(template.prefix(200)) rendered \(text.utf8.count) bytes") }
            } catch {
                #expect([.limit, .syntax, .runtime].contains(error.kind), "\(template.prefix(200)): \(error)")
            }
        }
    }

    /// Deep nesting ends the same on a thread with a small stack.
    @Test func deepTemplatesDoNotOverflowSmallStacks() throws {
        let sources = [
            "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
            "{{ " + String(repeating: "[", count: 300) + " }}", "{{ 1" + String(repeating: "|abs", count: 150) + " }}",
            "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{% endif %}.{% endmacro %}{{ m(100)|length }}",
            "{{ " + String(repeating: "(", count: 80) + "1" + String(repeating: ")", count: 80) + " }}",
        ]
        let finished = DispatchSemaphore(value: 0)
        nonisolated(unsafe) var outcomes: [String] = []
        let thread = Thread {
            outcomes = sources.map { source in
                (try? JinjaTemplate(source: source, name: "deep").render([:])) ?? "error"
            }
            finished.signal()
        }
        thread.stackSize = 512 << 10
        thread.start()
        finished.wait()
        #expect(outcomes == ["error", "error", "error", "1", "101", "1"])
    }

    /// What is long but harmless renders.
    @Test func longTemplatesRender() throws {
        func render(_ source: String) throws -> String { try JinjaTemplate(source: source, name: "long").render([:]) }
        #expect(try render("{{ 'a'" + String(repeating: " ~ 'a'", count: 5_000) + " }}").utf8.count == 5_001)
        #expect(try render(String(repeating: "{% if 1 %}a{% endif %}", count: 5_000)).utf8.count == 5_000)
        #expect(try render("{% if 0 %}" + String(repeating: "{% elif 0 %}", count: 5_000) + "{% else %}x{% endif %}") == "x")
        let nested = String(repeating: "{% if 1 %}", count: 60) + "x" + String(repeating: "{% endif %}", count: 60)
        #expect(try render(nested) == "x")
        #expect(try render("{{ " + String(repeating: "(", count: 60) + "1" + String(repeating: ")", count: 60) + " }}") == "1")
        #expect(try render("{% macro m(n) %}{% if n %}{{ m(n - 1) }}{% endif %}.{% endmacro %}{{ m(60) }}").utf8.count == 61)
    }

    /// 10,000 damaged templates: each renders or fails with a typed error; a crash or hang would end the test run.
    @Test func damagedTemplatesFailWithTypedErrors() throws {
        let chats = try Fixtures.json("templates/chats.json")
        let snippets = try Fixtures.json("templates/snippets.json")
        let variables = snippets["contexts"]?["values"]?.objectValue ?? [:]
        var seeds = (chats["templates"]?.objectValue ?? [:]).map { $0.value.stringValue ?? "" }
        seeds += (snippets["cases"]?.arrayValue ?? []).map { $0["template"]?.stringValue ?? "" }
        var context = chats["conversations"]?["tool call"]?.objectValue ?? [:]
        for (name, value) in variables { context[name] = value }
        let dictionary = [
            "{{", "}}", "{%", "%}", "{#", "#}", "{%-", "-%}", "{% raw %}", "{% endraw %}", "{% endif %}", "{% endfor %}",
            "{% else %}", "|", "(", ")", "[", "]",
            "**", "//", "is", "not", "loop", "recursive", "namespace()", "'", "\"", "\\", "\\x", "\\u12", "\r\n", "\u{A0}", "é",
            "%s", "{}", "-1", "1e999", "0x", "::",
        ]
        var limits = TemplateLimits()
        limits.steps = 1_000_000
        var mutator = Mutator(seed: 7, dictionary: dictionary)
        var (rendered, refused) = (0, 0)
        for round in 0..<10_000 {
            let bytes = mutator.mutate(Array(seeds[round % seeds.count].utf8))
            do throws(JinjaError) {
                let template = try JinjaTemplate(source: String(decoding: bytes, as: UTF8.self), name: "fuzz", limits: limits)
                _ = try template.render(context)
                rendered += 1
            } catch {
                #expect(error.template == "fuzz" && !error.message.isEmpty)
                refused += 1
            }
        }
        // Damage that never or always mattered would mean that the test tests nothing.
        #expect(rendered > 1_000 && refused > 1_000, "\(rendered) rendered, \(refused) refused")
    }

    @Test(arguments: [
        ("a\n{{ 1/0 }}", 2, "division by zero"), ("\n\n{% if x %}\n{% endfor %}", 4, "endfor"),
        ("{{ x.y\n.z.q }}", 2, "'dict object' has no attribute 'z'"[...]),
        ("{% macro m() %}\n{{ raise_exception('stop') }}{% endmacro %}\n\n{{ m() }}", 2, "stop"),
        ("{{ a }}\r\n{{ a }}\r{{ a.b }}", 3, "'a' is undefined"),
    ])
    func errorsNameTemplateAndLine(source: String, line: Int, message: Substring) {
        do throws(JinjaError) {
            _ = try JinjaTemplate(source: source, name: "chat_template.jinja").render(["x": ["y": [:]]])
            Issue.record("rendered")
        } catch {
            #expect(error.line == line && error.message.contains(message), "\(error)")
            #expect("\(error)".hasPrefix("chat_template.jinja:\(line): "))
        }
    }

    @Test func dateIsThatOfTheClock() throws {
        let template = try JinjaTemplate(source: "{{ strftime_now('%Y-%m-%d %f|%%|%b') }}", name: "date")
        // Noon of 2 March 2024 UTC is the same day in every time zone but the outermost.
        #expect(try template.render([:], now: { 1_709_380_800.25 }).hasPrefix("2024-03-02 250000|%|Mar"))
    }
}
