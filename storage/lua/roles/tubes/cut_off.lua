-- The batches that were taken when this instance ended: {tube, id}s. Read before the queue starts, which makes them ready
-- again; `tubes_taken`, which knew who had them, is gone with the instance.

local cut_off = {}

local STATE = 2 -- a field of a tube's row

if box.space.tubes_taken ~= nil and box.space.tubes_taken:len() == 0 then
    for _, row in box.space._space:pairs() do
        local name = row[3]
        if name:match('^push_') and box.space[name].index[1] ~= nil then
            for _, task in box.space[name].index[1]:pairs({'t'}) do
                if task[STATE] == 't' then
                    table.insert(cut_off, {name, task[1]})
                end
            end
        end
    end
end

return cut_off
