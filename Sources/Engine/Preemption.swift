/// Who gives way when the cache's blocks run out.
enum Preemption {
    /// The newest of the lowest priority: the least work is lost and the first in line always comes to its end.
    static func victim(among running: some Sequence<SequenceState>) -> SequenceState? {
        running.max { a, b in (-a.request.priority, a.id) < (-b.request.priority, b.id) }
    }
}
