/// What the values of JSON Schema's `format` look like.
enum StringFormats {
    /// The expression of a format; nil when it is not known.
    static func pattern(of format: String) -> String? { patterns[format] }

    /// Formats that say what a text is for, and nothing about its characters.
    static let unconstrained: Set<String> = ["binary", "password"]

    static var names: String { (Array(patterns.keys) + unconstrained).sorted().joined(separator: ", ") }

    private static let patterns: [String: String] = {
        let day = "(?:0[1-9]|1\\d|2\\d|30)"
        let leapYear = "(?:\\d\\d(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)"
        let date =
            "(?:\\d{4}-(?:(?:0[13578]|1[02])-(?:\(day)|31)|(?:0[469]|11)-\(day)|02-(?:0[1-9]|1\\d|2[0-8]))|\(leapYear)-02-29)"
        let time = "(?:[01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(?:\\.\\d{1,9})?(?:Z|[+-](?:[01]\\d|2[0-3]):[0-5]\\d)"
        let label = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
        let byte = "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)"
        let ipv4 = "\(byte)(?:\\.\(byte)){3}"
        let word = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
        let group = "[0-9A-Fa-f]{1,4}"
        let ipv6 =
            ([
                "(?:\(group):){7}\(group)", "(?:\(group):){6}\(ipv4)", "::(?:\(group):){0,5}\(ipv4)",
            ]
            // The run of zeros after 0 to 6 groups; what follows it leaves at least one group out.
            + (0...7).map { before in
                let head = before == 0 ? ":" : "(?:\(group):){\(before)}"
                let after = 7 - before
                return after == 0 ? "\(head):" : "\(head):(?:\(group)(?::\(group)){0,\(after - 1)})?"
            }).joined(separator: "|")
        let uriCharacter = "(?:[A-Za-z0-9._~:/?#@!$&'()*+,;=\\[\\]-]|%[0-9A-Fa-f]{2})"
        return [
            "date": date,
            "time": time,
            "date-time": "\(date)T\(time)",
            "duration":
                "P(?:\\d+W|(?:\\d+Y(?:\\d+M(?:\\d+D)?)?|\\d+M(?:\\d+D)?|\\d+D)(?:T(?:\\d+H(?:\\d+M(?:\\d+S)?)?|\\d+M(?:\\d+S)?|\\d+S))?|T(?:\\d+H(?:\\d+M(?:\\d+S)?)?|\\d+M(?:\\d+S)?|\\d+S))",
            "email": "\(word)(?:\\.\(word))*@\(label)(?:\\.\(label))+",
            "hostname": "\(label)(?:\\.\(label))*",
            "ipv4": ipv4,
            "ipv6": ipv6,
            "uuid": "[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}",
            "uri": "[A-Za-z][A-Za-z0-9+.-]*:\(uriCharacter)+",
            "byte": "(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?",
        ]
    }()
}
