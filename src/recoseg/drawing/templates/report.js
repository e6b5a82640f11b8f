// Shows the photos of a report: searched, sorted, and drawn as far as they are scrolled to.
// A classic script without modules or requests, so that pages open from the disk. Names from files
// only ever become text.
"use strict";

(() => {
  const STEP = 60; // photos that are added at a time
  const galleries = new Map();

  // Called by the files of rows, one after the other.
  window.recosegRows = (name, rows) => galleries.get(name).receive(rows);

  class Gallery {
    constructor(root) {
      this.root = root;
      this.cards = root.querySelector(".cards");
      this.template = root.querySelector("template");
      this.status = root.querySelector(".status");
      this.more = root.querySelector(".more");
      this.search = root.querySelector("input[type=search]");
      this.sort = root.querySelector("select");
      this.all = root.querySelector(".all");
      this.buttons = [...root.querySelectorAll(".legend button")];
      this.classes = this.buttons.map((button) => ({
        name: button.querySelector("span").textContent,
        swatch: button.querySelector("i"),
      }));
      this.rows = [];
      this.fitting = []; // the rows that are searched for, in order
      this.drawn = 0; // how many of them have a card
      this.chunk = 0;
      this.listen();
    }

    listen() {
      this.search.addEventListener("input", () => this.refresh());
      this.sort.addEventListener("change", () => this.refresh());
      this.more.addEventListener("click", () => this.draw());
      for (const button of this.buttons) {
        button.addEventListener("click", () => {
          button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
          this.refresh();
        });
      }
      if (this.all) {
        this.all.addEventListener("input", () => {
          for (const slider of this.cards.querySelectorAll("input")) {
            slider.value = this.all.value;
            move(slider);
          }
        });
      }
      this.cards.addEventListener("input", (event) => move(event.target));
      this.near = new IntersectionObserver(
        (entries) => entries.some((entry) => entry.isIntersecting) && this.draw(),
        { rootMargin: "1200px" },
      );
    }

    load() {
      if (this.chunk >= Number(this.root.dataset.chunks)) {
        this.refresh();
        return;
      }
      const script = document.createElement("script");
      script.src = `${this.root.dataset.up}rows/${this.root.dataset.name}-${this.chunk}.js`;
      script.addEventListener("error", () => {
        this.status.textContent = "The file of the photos is missing: keep the folder of this page together.";
      });
      this.chunk += 1;
      document.head.append(script);
    }

    receive(rows) {
      for (const row of rows) {
        const names = row.shares.map(([label]) => this.classes[label].name);
        row.text = [row.name, ...names].join(" ").toLowerCase();
        row.place = this.rows.length;
        this.rows.push(row);
      }
      this.refresh();
      setTimeout(() => this.load());
    }

    chosen() {
      return this.buttons
        .filter((button) => button.getAttribute("aria-pressed") === "true")
        .map((button) => button.dataset.label);
    }

    refresh() {
      const words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
      const labels = this.chosen();
      const fits = (row) =>
        words.every((word) => row.text.includes(word)) && labels.every((label) => has(row, label));
      const fitting = this.rows.filter(fits).sort(order(this.sort.value, labels));
      const same = fitting.length >= this.drawn && this.fitting.slice(0, this.drawn).every((row, at) => row === fitting[at]);
      this.fitting = fitting;
      if (!same) {
        this.cards.replaceChildren();
        this.drawn = 0;
      }
      if (!this.drawn) this.draw();
      this.tell();
    }

    tell() {
      const total = Number(this.root.dataset.photos);
      const loading = this.rows.length < total ? ", loading" : "";
      const count = this.fitting.length.toLocaleString("en");
      const all = total.toLocaleString("en");
      this.status.textContent = this.fitting.length
        ? `${count} of ${all} photos${loading}`
        : `None of ${all} photos fits${loading}`;
      this.more.hidden = this.drawn >= this.fitting.length;
    }

    draw() {
      const part = this.fitting.slice(this.drawn, this.drawn + STEP);
      if (!part.length) return;
      const batch = document.createElement("div"); // browsers lay out only those in sight
      batch.className = "justified batch";
      batch.append(...part.map((row) => this.card(row)));
      this.cards.append(batch);
      this.drawn += part.length;
      this.more.hidden = this.drawn >= this.fitting.length;
      this.near.unobserve(this.more); // it is told again where the button still is in sight
      this.near.observe(this.more);
    }

    card(row) {
      const card = this.template.content.firstElementChild.cloneNode(true);
      const [width, height] = row.size;
      const panels = card.querySelectorAll(".panel").length;
      card.style.setProperty("--r", String((panels * width) / height));
      card.style.setProperty("--of-one", `${width} / ${height}`);
      card.querySelectorAll("img").forEach((image, layer) => {
        image.alt = `${row.name}: ${image.alt}`;
        if (row.pictures[layer]) image.src = this.root.dataset.up + row.pictures[layer];
      });
      const slider = card.querySelector("input");
      if (slider) {
        slider.setAttribute("aria-label", `${row.name}: how much of the photo is shown`);
        slider.value = this.all.value;
        move(slider);
      }
      const list = card.querySelector(".shares");
      for (const [label, share] of row.shares) list.append(this.share(label, share));
      const name = card.querySelector(".name");
      name.textContent = this.caption(row);
      name.title = row.name;
      if (row.link) name.href = this.root.dataset.up + row.link;
      return card;
    }

    caption(row) {
      const score = this.root.dataset.score;
      return row.score === undefined ? row.name : `${row.name} · ${score} ${percent(row.score)}`;
    }

    share(label, share) {
      const item = document.createElement("li");
      const number = document.createElement("b");
      number.textContent = percent(share);
      item.append(this.classes[label].swatch.cloneNode(), `${this.classes[label].name} `, number);
      return item;
    }
  }

  function move(slider) {
    slider.parentElement.style.setProperty("--at", `${slider.value}%`);
  }

  function percent(share) {
    return `${(100 * share).toFixed(1)}%`;
  }

  function has(row, label) {
    return label === "none" ? !row.shares.length : row.shares.some(([own]) => String(own) === label);
  }

  function shareOf(row, labels) {
    const counted = row.shares.filter(([own]) => !labels.length || labels.includes(String(own)));
    return counted.reduce((sum, [, share]) => sum + share, 0);
  }

  // Rows without a score come last; equal ones keep the order of their names.
  function order(by, labels) {
    const sign = by === "most" || by === "highest" ? -1 : 1;
    const value = {
      "": (row) => row.place,
      most: (row) => shareOf(row, labels),
      least: (row) => shareOf(row, labels),
      lowest: (row) => row.score,
      highest: (row) => row.score,
    }[by];
    return (one, other) => {
      const [a, b] = [value(one), value(other)];
      if (a === b) return one.place - other.place;
      if (a === undefined) return 1;
      if (b === undefined) return -1;
      return sign * (a - b);
    };
  }

  for (const root of document.querySelectorAll(".gallery")) {
    const gallery = new Gallery(root);
    galleries.set(root.dataset.name, gallery);
    gallery.load();
  }
})();
