-- Which module gives the tubes: the bundled one, or the queue rock. What is configured counts, not what happens to be
-- installed.

local queue_module = {}

local LONGEST = 365 * 86400 * 100 -- seconds; the rock's default
local chosen = 'bundled'

-- `name`: bundled or rock; `ours`: the part of `package.path` that stands first, with our own modules.
function queue_module.choose(name, ours)
    chosen = name
    if name ~= 'rock' then
        return
    end
    local first = ours .. ';'
    table.insert(package.loaders, 2, function(wanted) -- before those that look through `package.path`
        if wanted ~= 'queue' and not wanted:match('^queue%.') then
            return nil
        end
        local path = package.path
        package.path = path:sub(1, #first) == first and path:sub(#first + 1) or path
        local file = package.search(wanted)
        package.path = path
        return file and loadfile(file) or nil
    end)
end

-- The rock reads a tube's defaults from the tube's row, where the bundled module does not write them. Without them the rock
-- takes each new task for expired, and deletes it.
-- Call it before anything requires the queue.
function queue_module.complete()
    if chosen ~= 'rock' or box.space._queue == nil or box.info.ro then
        return
    end
    for _, row in ipairs(box.space._queue:select({})) do
        local opts = row[5]
        if row[4] == 'fifottl' and opts.ttl == nil then
            opts.ttl, opts.ttr, opts.pri = LONGEST, opts.ttr or LONGEST, opts.pri or 0
            box.space._queue:update(row[1], {{'=', 5, opts}})
        end
    end
end

-- What gives the tubes, in words. Call it when the roles are up: they note what was cut off before they require the
-- queue, which makes it ready again (roles/tubes/cut_off.lua). Fails if it is not what was chosen.
function queue_module.told()
    local bundled = tostring(require('queue')._VERSION):match('broadside') ~= nil
    if chosen == 'bundled' then
        return 'the bundled module'
    elseif bundled then
        error('queue.module is "rock", and the queue rock is not installed here: tt rocks install queue, or choose ' ..
              '"bundled"', 0)
    end
    local _, version = pcall(require, 'queue.version') -- since 1.1.0
    return type(version) == 'string' and 'the queue rock ' .. version or 'the queue rock'
end

return queue_module
