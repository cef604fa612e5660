/// An order of use over small numbers: the least recently used comes first. Every operation takes constant time and no memory.
struct RecencyList {
    private struct Link {
        var previous: Int32 = -1
        var next: Int32 = -1
        var isMember = false
    }

    private var links: [Link]
    /// The least recently used member.
    private(set) var first: Int32 = -1
    private var last: Int32 = -1
    private(set) var count = 0

    /// - Parameter capacity: members lie in `0..<capacity`.
    init(capacity: Int) { links = Array(repeating: Link(), count: capacity) }

    func contains(_ member: Int32) -> Bool { links[Int(member)].isMember }

    /// The member used next after `member`; -1 after the most recently used.
    func next(_ member: Int32) -> Int32 { links[Int(member)].next }

    /// Makes room for members below `capacity`.
    mutating func grow(to capacity: Int) {
        while links.count < capacity { links.append(Link()) }
    }

    /// Adds `member`, which was not in the list, as the most recently used.
    mutating func append(_ member: Int32) {
        precondition(!links[Int(member)].isMember)
        links[Int(member)] = Link(previous: last, next: -1, isMember: true)
        if last >= 0 { links[Int(last)].next = member } else { first = member }
        last = member
        count += 1
    }

    mutating func remove(_ member: Int32) {
        let link = links[Int(member)]
        precondition(link.isMember)
        if link.previous >= 0 { links[Int(link.previous)].next = link.next } else { first = link.next }
        if link.next >= 0 { links[Int(link.next)].previous = link.previous } else { last = link.previous }
        links[Int(member)] = Link()
        count -= 1
    }

    /// Makes `member` the most recently used.
    mutating func touch(_ member: Int32) {
        remove(member)
        append(member)
    }
}
