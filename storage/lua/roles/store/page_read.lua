-- The subscribers of a page, by channel, encoded as batches carry them: parts of at most `most`, each a MessagePack
-- array of [id, token, kind, registered_at, locale]. The fields are copied from memory by Tarantool's own C API (its
-- module API, the same from 1.7 to 3), so that no row becomes an object here or on its way to the tube: 0.2 µs a row,
-- where Lua tuples took 0.7 and Python another 1.3 (docs/adr/0008).

local buffer = require('buffer')
local ffi = require('ffi')
local fiber = require('fiber')
local app_versions = require('roles.audience.app_versions')
local columns = require('roles.audience.columns')
local kept_pages = require('roles.kept_pages')
local plans = require('roles.store.plans')
local predicate = require('roles.audience.predicate')
local row_memory = require('roles.audience.row_memory')
local settled_ids = require('roles.store.settled_ids')
local windows = require('roles.store.windows')

local SLICE = 2000 -- rows read without letting others have Tarantool's thread
local LOOKUPS = 2000 -- rows looked up likewise
local ROW, PERSONAL = 0x95, 0x96 -- an array of five, or of six
local LONGEST_VALUE = 128 -- octets; a longer one is not put into a text, so it is not carried either
local NO_VALUE = 0xa0 -- the empty text
local ARRAY = 0x90 -- of at most 15
local NEW_APP, OLD_APP = '1', '' -- as in campaigns/recipient.py
local HEAD = 3 -- octets before the first row: the head of an array of up to 65,535
local BYTES_A_ROW = 200
local FIRST_BYTES = 4096
local ID, CHANNEL, TOKEN, APP_VERSION = row_memory.ID, row_memory.CHANNEL, row_memory.TOKEN, row_memory.APP_VERSION
local ZONE, BEST, FIELDS = row_memory.ZONE, row_memory.BEST, row_memory.FIELDS -- the locale lies before the zone
local MAP = {__serialize = 'map'}
local MAP_OF_NOTHING = setmetatable({}, MAP)

local a_row = ffi.typeof('uint8_t *')
local field, name_at, number_at = row_memory.field, row_memory.name_at, row_memory.number_at
local best_slot, next_row = row_memory.best_slot, row_memory.next_row
local tuples, ids, inside, names = columns.tuples, columns.ids, columns.inside, columns.names

-- The octets of a text's head, and of what follows it. Fields are texts of at most 1,024 letters, names of 64.
local function text_at(p)
    local head = p[0]
    if head == 0xd9 then
        return 2, p[1]
    elseif head == 0xda then
        return 3, p[1] * 0x100 + p[2]
    elseif head == 0xdb then
        return 5, ((p[1] * 0x100 + p[2]) * 0x100 + p[3]) * 0x100 + p[4]
    end
    return 1, head - 0xa0
end

local function append_text(rows, text)
    ffi.copy(rows:alloc(1 + #text), string.char(NO_VALUE + #text) .. text, 1 + #text) -- at most 31 octets
end

-- Append the values of the fields at `p`, a map of texts. `wanted`: name -> its position from 1; `n`: how many. `last`:
-- a text to append after them; nil: none.
local function append_values(rows, p, wanted, n, last)
    local head, count = p[0], p[0] - 0x80
    p = p + 1
    if head == 0xde then -- more than fifteen fields; there are at most fifty
        count = p[0] * 0x100 + p[1]
        p = p + 2
    end
    local found = {}
    for _ = 1, count do
        local skip, size = text_at(p)
        local position = wanted[ffi.string(p + skip, size)]
        p = p + skip + size
        skip, size = text_at(p)
        if position ~= nil and size <= LONGEST_VALUE then
            found[position] = p
        end
        p = p + skip + size
    end
    local values = ffi.cast('uint8_t *', rows:alloc(1))
    values[0] = ARRAY + n + (last == nil and 0 or 1) -- at most 15
    for position = 1, n do
        local value = found[position]
        if value == nil then
            ffi.cast('uint8_t *', rows:alloc(1))[0] = NO_VALUE
        else
            local skip, size = text_at(value)
            ffi.copy(rows:alloc(skip + size), value, skip + size)
        end
    end
    if last ~= nil then
        append_text(rows, last)
    end
end

-- Whether the app version at `p` keeps a channel's bounds. Rows have few different ones, so each is judged once.
local function is_new_app(rule, p)
    local skip, size = text_at(p)
    local version = ffi.string(p + skip, size)
    local is_new = rule.known[version]
    if is_new == nil then
        is_new = app_versions.within(version, rule.bounds)
        rule.known[version] = is_new
    end
    return is_new
end

local function rules(versions)
    local by_channel = {}
    for channel, bounds in pairs(versions) do
        by_channel[channel] = {bounds = app_versions.compile(bounds), known = {}}
    end
    return by_channel
end

local function positions(names)
    local wanted = {}
    for position, name in ipairs(names) do
        wanted[name] = position
    end
    return wanted
end

local function add(page, open, channel, class)
    local part = open[channel]
    if part == nil or part.size == page.most then
        part = {channel = channel, class = class, zones = setmetatable({}, MAP), size = 0}
        part.rule = page.versions and page.versions[channel]
        -- with window classes a page may have hundreds of parts, which stay small; a buffer grows by itself
        part.rows = buffer.ibuf(page.classes == nil and HEAD + page.most * BYTES_A_ROW or FIRST_BYTES)
        part.rows:alloc(HEAD)
        open[channel] = part
        table.insert(page.parts, part)
    end
    return part
end

-- The open parts of a window class, by channel.
local function open_parts(page, class)
    local open = page.open[class]
    if open == nil then
        open = {}
        page.open[class] = open
    end
    return open
end

-- Copy a row into its part: by channel, and by window class where the campaign has them.
local function copy(page, tuple, id_at, channel, channel_at)
    local token_at = field(tuple, TOKEN)
    local zone_at = field(tuple, ZONE)
    local front, rest = channel_at - id_at, zone_at - token_at
    local classes, part = page.classes, nil
    if classes == nil then
        part = add(page, page.whole, channel, 0)
    else
        local zone = name_at(zone_at)
        local class = classes.zones[zone]
        if class == nil then
            zone = classes.channels[channel]
            class = zone ~= nil and classes.zones[zone] or 0
        end
        if classes.best and class ~= 0 then
            local slot = best_slot(field(tuple, BEST))
            class = type(class) == 'table' and class[slot + 1] or class + slot
        end
        part = add(page, open_parts(page, class), channel, class)
        if class ~= 0 then
            part.zones[zone] = (part.zones[zone] or 0) + 1
        end
    end
    local rule, last = part.rule, nil
    if rule ~= nil then
        last = is_new_app(rule, field(tuple, APP_VERSION)) and NEW_APP or OLD_APP
    end
    local row = ffi.cast(a_row, part.rows:alloc(1 + front + rest))
    row[0] = page.wanted == nil and rule == nil and ROW or PERSONAL
    ffi.copy(row + 1, id_at, front)
    ffi.copy(row + 1 + front, token_at, rest)
    if page.wanted ~= nil then
        append_values(part.rows, field(tuple, FIELDS), page.wanted, page.fields, last)
    elseif rule ~= nil then
        ffi.cast('uint8_t *', part.rows:alloc(1))[0] = ARRAY + 1
        append_text(part.rows, last)
    end
    part.size = part.size + 1
end

-- The first `count` rows of the columns: each of an audience's channels is copied, or counted as skipped. Who is settled
-- is neither.
local function choose(page, count)
    local audience, settled, skipped, only = page.audience, page.settled, page.skipped, page.only
    predicate.mark(audience.where, count)
    for i = 0, count - 1 do
        local channel = names[i]
        if audience.channels[channel] and (settled == nil or not settled_ids.has(settled, ids[i])) then
            if inside[i] == 1 and (only == nil or settled_ids.has(only, ids[i])) then
                local tuple = tuples[i]
                copy(page, tuple, field(tuple, ID), channel, field(tuple, CHANNEL))
            else
                skipped[channel] = (skipped[channel] or 0) + 1
            end
        end
    end
end

-- Read up to SLICE rows. Needs no transaction: nothing in here yields. Returns whether there may be more.
local function collect_all(iterator, page)
    for _ = 1, SLICE do
        local tuple = next_row(iterator)
        if tuple == nil then
            return false
        end
        local id_at = field(tuple, ID)
        local id = number_at(id_at)
        if id > page.to_id then
            return false
        end
        local channel_at = field(tuple, CHANNEL)
        copy(page, tuple, id_at, name_at(channel_at), channel_at)
        page.from_id = id
    end
    return true
end

local function collect_chosen(iterator, page)
    local count = columns.fill(iterator, page.to_id, SLICE)
    choose(page, count)
    if count > 0 then
        page.from_id = ids[count - 1]
    end
    return count == SLICE
end

local function collect_listed(page)
    local list, first = page.audience.listed, 1
    while list[first] ~= nil and list[first] <= page.from_id do
        first = first + 1
    end
    local last = first - 1
    while list[last + 1] ~= nil and list[last + 1] <= page.to_id do
        last = last + 1
    end
    while first <= last do
        local some = math.min(LOOKUPS, last - first + 1)
        choose(page, columns.fill_with(list, first, some))
        first = first + some
        fiber.yield()
    end
end

local function collect(page)
    if page.audience ~= nil and page.audience.listed ~= nil then
        collect_listed(page)
        return
    end
    local work = page.audience ~= nil and collect_chosen or collect_all
    while row_memory.with(page.from_id, work, page) do
        fiber.yield()
    end
end

-- {channel, size, rows, window class, zone -> rows of the class} each, of all ids in (from_id, to_id]: these may be more
-- than the page had when it was claimed, for the undo of deletions gives subscribers their old ids back. The third
-- argument is such a limit, which nodes of an earlier version still send. `campaign`: the one whose window classes part
-- the rows, and whose audience alone is meant, less the ids that are `settled` (a set as campaigns/id_set.py packs it);
-- nil: none. `wanted`: the personal fields to carry, at most 15; nil: none. `versions`: channel -> bounds of app versions
-- (predicate.lua); nil: none. A row of such a channel has one value more: whether its app keeps the bounds. Where the
-- audience is less than whole channels, a second answer counts the rows that were skipped, by channel.
-- `only`: a set of the only ids that are meant, for a campaign with conditions; nil: all.
-- `keep`: true, the parts' rows stay here; they are empty in the answer, and a third answer names the page for `page_put`
-- (kept_pages.lua).
return function(from_id, to_id, _, most, campaign, wanted, settled, versions, only, keep)
    keep = keep == true
    local page = {from_id = from_id, to_id = to_id, most = most, open = {}, parts = {}, whole = {}}
    page.versions = versions ~= nil and rules(versions) or nil
    if wanted ~= nil then
        page.wanted, page.fields = positions(wanted), #wanted
    end
    if campaign ~= nil then
        page.classes, page.audience = windows.plan(campaign), plans.of(campaign)
    end
    if page.audience ~= nil then
        page.settled, page.skipped = settled_ids.unpack(settled), setmetatable({}, MAP)
        page.only = only ~= nil and (settled_ids.unpack(only) or {}) or nil
    end
    collect(page)
    local answer, kept = {}, {}
    for i, part in ipairs(page.parts) do
        local head = ffi.cast(a_row, part.rows.rpos)
        head[0], head[1], head[2] = 0xdc, math.floor(part.size / 0x100), part.size % 0x100
        answer[i] = {part.channel, part.size, keep and '' or ffi.string(head, part.rows:size()), part.class, part.zones}
        if keep then
            kept[i] = part.rows
        else
            part.rows:recycle()
        end
    end
    if keep then
        return answer, page.skipped or MAP_OF_NOTHING, kept_pages.keep(kept)
    elseif page.skipped ~= nil then
        return answer, page.skipped
    end
    return answer
end
