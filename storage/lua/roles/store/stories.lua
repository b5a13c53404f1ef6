-- Stories: what their cards show, and which channels at the provider are theirs. What is to be done for a story, and in
-- which order, is in broadside/newsroom/stories; here a change is written whole, and only by who knew the last one.

local atomic = require('roles.atomic')
local stories = {}

local KEEP = 28 * 86400 * 1000 -- ms since the last change of a story that is over
local MOST = 1000 -- stories that are kept; those under way are never deleted
local EXPIRED_A_STEP = 100

local function expire(now)
    local old = {}
    for _, row in box.space.store_stories.index.changed:pairs() do
        if row.changed_at + KEEP > now or #old >= EXPIRED_A_STEP then
            break
        end
        if not row.live then
            table.insert(old, row.id)
        end
    end
    for _, id in ipairs(old) do
        box.space.store_stories:delete(id)
    end
end

-- Whether a channel is being made for another story at this place. Who makes one finds a channel whose id was lost by
-- what is new in the provider's list: two at a time could not be told apart.
local function taken(making, id)
    if making == '' then
        return false
    end
    for _, row in box.space.store_stories.index.making:pairs({making}) do
        if row.id ~= id then
            return true
        end
    end
    return false
end

-- Write a story, the one of this `version`; 0: a new one. Returns what became of it and the row: `saved` (also if this
-- call is the repeat of one whose answer was lost), `changed`: the row has another version, `busy`: a channel is being
-- made at this place for another story, `full`: there are too many, or `missing`.
function stories.story_save(id, version, live, making, text, now)
    return atomic(function()
        expire(now)
        local space = box.space.store_stories
        local row = space:get(id)
        if row == nil then
            if version ~= 0 then
                return 'missing'
            elseif space:len() >= MOST then
                return 'full'
            elseif taken(making, id) then
                return 'busy'
            end
            return 'saved', space:insert({id, 1, live, making, text, now})
        end
        if row.version == version + 1 and row.text == text then
            -- written, though nothing changes: so the answer waits until the first call's writes are with the quorum
            return 'saved', space:update(id, {{'=', 'live', live}})
        elseif row.version ~= version then
            return 'changed', row
        elseif taken(making, id) then
            return 'busy', row
        end
        return 'saved', space:replace({id, version + 1, live, making, text, now})
    end)
end

-- A story, or nil.
function stories.story_get(id)
    return box.space.store_stories:get(id) or box.NULL
end

-- Stories, the last changed first; `before`: {changed_at, id}, only those behind it.
function stories.story_list(limit, before)
    local list = {}
    for _, row in box.space.store_stories.index.changed:pairs(before, {iterator = before and 'LT' or 'REQ'}) do
        if #list >= limit then
            break
        end
        table.insert(list, row)
    end
    return list
end

-- Stories for which something may still have to be done, with ids beyond `after`.
function stories.story_live(limit, after)
    return box.space.store_stories.index.live:pairs({true, after}, {iterator = 'GT'})
        :take_while(function(row) return row.live end):take(limit):totable()
end

return stories
