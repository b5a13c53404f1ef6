-- Version 2: the ledger keeps who is settled of a page by id, and campaigns know time zones and have audiences.

local id_ranges = require('roles.store.steps.id_ranges')

local step = {}

-- `ended`: a set of ids, see campaigns/id_set.py. `held`: {zone, recipients} of those who wait for their time.
-- `first_claimed_at`, and a subscriber's `changed_at`: ms by the store's own clock, so that they can be compared.
function step.formats()
    local pages = box.space.store_pages
    local format = pages:format()
    format[13] = {name = 'ended', type = 'array'}
    format[14] = {name = 'held', type = 'array', is_nullable = true}
    format[15] = {name = 'first_claimed_at', type = 'unsigned', is_nullable = true}
    pages:format(format)

    local subscribers = box.space.store_subscribers
    format = subscribers:format()
    format[14] = {name = 'changed_at', type = 'unsigned', is_nullable = true}
    subscribers:format(format)
end

local function spans_to_sets()
    local pages = box.space.store_pages
    for _, state in ipairs({'claimed', 'enqueued', 'open'}) do
        for _, page in ipairs(pages.index.state:select({state})) do
            local ended = {}
            for _, span in ipairs(page[13]) do
                for _, number in ipairs(id_ranges.settled(unpack(span, 1, 4))) do
                    table.insert(ended, number)
                end
            end
            pages:update({page[1], page[2], page[3]}, {{'=', 13, ended}})
        end
    end
end

function step.rows()
    spans_to_sets()
    -- The window classes of a campaign (campaigns/windows.py), fixed when it starts. `zones`: zone -> class; `channels`:
    -- channel -> the zone of subscribers without one; `text`: all of it, as JSON; `held`: sums of the pages';
    -- `active`: milliseconds in which its lines came in, the last of them at `moved_at`; `best`: it starts
    -- at each subscriber's best time, and a class has one behind it for each half hour of the day.
    local windows = box.schema.space.create('store_windows', {format = {
        {'campaign', 'unsigned'}, {'zones', 'map'}, {'channels', 'map'}, {'text', 'string'}, {'held', 'array'},
        {'active', 'unsigned'}, {'moved_at', 'unsigned'}, {'best', 'boolean'},
    }})
    windows:create_index('id', {parts = {'campaign'}})
    -- The subscribers of a campaign that goes to a list: sorted ids.
    local listed = box.schema.space.create('store_listed', {format = {{'campaign', 'unsigned'}, {'ids', 'array'}}})
    listed:create_index('id', {parts = {'campaign'}})
end

return step
