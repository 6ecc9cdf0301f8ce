require "json"
require "time"

# Processes events after they were answered, one after the other, whatever their order and however often they come.
#
# The queue, the ids and the mirror are in memory here, which a restart empties. In an app that must lose nothing they
# are tables of its database, and the event is stored before the 200.
class Worker
  MOST_QUEUED = 10_000
  REMEMBERED_S = 4 * 24 * 3600 # retries come for three days

  def initialize(log = $stdout)
    @log = log
    @queue = Thread::SizedQueue.new(MOST_QUEUED)
    @seen = {}   # event id => when it was processed, oldest first
    @mirror = {} # object id => [as of, object]; nil once the object is deleted
    @thread = Thread.new { work }
  end

  # Whether there was room for it: a sender that is told 503 comes again.
  def enqueue(body)
    @queue.push(body, true)
    true
  rescue ThreadError, ClosedQueueError
    false
  end

  # Processes what is queued, and ends.
  def stop
    @queue.close
    @thread.join
  end

  private

  def work
    while (body = @queue.pop)
      begin
        say apply(JSON.parse(body))
      rescue StandardError => error
        say "an event could not be processed: #{error.class}"
      end
    end
  end

  def say(line)
    @log.puts line
    @log.flush
  end

  def apply(event)
    name = event.values_at("id", "event").join(" ")
    return "#{name}: duplicate, ignored" if @seen.key?(event["id"])

    changes = observations(event)
    applied = changes.count { |change| upsert(*change) }
    remember(event["id"], Process.clock_gettime(Process::CLOCK_MONOTONIC))
    return "#{name}: applied" if applied.positive?

    "#{name}: #{changes.empty? ? "nothing to do" : "stale, ignored"}"
  end

  # What an event says of which objects: id, as of when, and the object, or nil for one that is gone.
  def observations(event)
    data, created_at = event.values_at("data", "created_at")
    case event["event"]
    when "dsync.user.created", "dsync.user.updated", "dsync.group.created", "dsync.group.updated"
      [[data["id"], data["updated_at"], data]]
    when "dsync.user.deleted", "dsync.group.deleted"
      [[data["id"], created_at, nil]]
    when "dsync.group.user_added" # maybe before its user's and its group's own events: it has them whole
      user, group = data.values_at("user", "group")
      [[user["id"], user["updated_at"], user],
       [group["id"], group["updated_at"], group],
       [membership(data), created_at, { "user" => user["id"], "group" => group["id"] }]]
    when "dsync.group.user_removed"
      [[membership(data), created_at, nil]]
    else
      []
    end
  end

  def membership(data)
    "#{data["group"]["id"]}/#{data["user"]["id"]}"
  end

  # Writes what is not older than what is there; the deleted stay, so that nothing late brings them back.
  def upsert(id, timestamp, object)
    as_of = Time.iso8601(timestamp)
    kept_as_of, = @mirror[id]
    return false if kept_as_of && as_of < kept_as_of

    @mirror[id] = [as_of, object]
    true
  end

  def remember(id, now_s)
    @seen[id] = now_s
    @seen.shift while now_s - @seen.first.last >= REMEMBERED_S
  end
end
