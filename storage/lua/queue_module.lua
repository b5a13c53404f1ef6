-- Which module gives the tubes: the bundled one, or the queue rock. What is configured counts, not what happens to be
-- installed.

local queue_module = {}

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

-- What gives the tubes, in words. Fails if it is not what was chosen.
function queue_module.told()
    local version = require('queue')._VERSION
    if chosen == 'rock' and version:match('broadside') then
        error('queue.module is "rock", and the queue rock is not installed here: tt rocks install queue, or choose ' ..
              '"bundled"', 0)
    end
    return chosen == 'rock' and ('the queue rock ' .. version) or 'the bundled module'
end

return queue_module
