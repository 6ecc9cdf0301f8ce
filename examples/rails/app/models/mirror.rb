# What the events say of users, groups and memberships, whatever their order and however often they come.
#
# In memory here, which a restart empties. In an app that must lose nothing, the ids and the objects are tables of its
# database, and so is the queue (any adapter of Active Job that keeps it there): an event is stored before the 200.
module Mirror
  REMEMBERED = 4.days # retries come for three days

  @seen = {}    # event id => when it was processed, oldest first
  @objects = {} # object id => [as of, object]; nil once the object is deleted

  class << self
    def apply(event)
      return "duplicate, ignored" if @seen.key?(event["id"])

      changes = observations(event)
      applied = changes.count { |change| upsert(*change) }
      remember(event["id"])
      return "applied" if applied.positive?

      changes.empty? ? "nothing to do" : "stale, ignored"
    end

    private

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
      kept_as_of, = @objects[id]
      return false if kept_as_of && as_of < kept_as_of

      @objects[id] = [as_of, object]
      true
    end

    def remember(id)
      @seen[id] = Time.current
      @seen.shift while @seen.first.last < REMEMBERED.ago
    end
  end
end
